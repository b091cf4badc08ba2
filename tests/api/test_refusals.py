"""What must not be launched is not, says why, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import OTHER_UID
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

BLOCKED: list[tuple[dict[str, Any], str]] = [
    ({"privileged": True}, "privileged"),
    ({"require_networking": True}, "network access not permitted"),
    (
        {"mounts": [{"source": "/var/run/docker.sock", "target": "/s"}]},
        "dangerous mount detected: /var/run/docker.sock",
    ),
    ({"mounts": [{"source": "/", "target": "/host"}]}, "dangerous mount detected: /"),
    ({"user": 0}, "root"),
    ({"capabilities": ["SYS_ADMIN"]}, "SYS_ADMIN"),
    ({"host_namespaces": ["pid"]}, "pid"),
    ({"devices": ["/dev/null"]}, "/dev/null"),
    ({"seccomp": "unconfined"}, "seccomp"),
    ({"read_only_root": False}, "root"),
    ({"no_new_privileges": False}, "no-new-privileges"),
    ({"limits": {"memory": "64g"}}, "limits.memory"),
    ({"runtime": "runsc"}, "runsc"),
]


@pytest.mark.parametrize(
    ("options", "reason"), BLOCKED, ids=[next(iter(o)) + str(i) for i, (o, _) in enumerate(BLOCKED)]
)
def test_a_weaker_sandbox_is_blocked_by_name(
    running: Daemon, image: str, options: dict[str, Any], reason: str
) -> None:
    answer = running.request("POST", "/v1/sandboxes", {"image": image, "command": ["true"], **options})
    problem = answer.json()
    assert answer.status == 403
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert problem["title"] in {f"execution blocked: {level} risk level" for level in ("HIGH", "CRITICAL")}
    assert any(reason in text for text in problem["reasons"])
    assert running.events()[-1]["event_type"] == "EXECUTION_BLOCKED"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"image": "x", "unknown": 1}, 422),
        ({"image": "x", "limits": {"memory": "lots"}}, 422),
        ({"image": "no-such-image:1"}, 422),
        ({"image": "x", "profile": "nope"}, 403),
        ({"image": "x", "env": {"A": "\0"}}, 422),
        ({"image": "x", "working_dir": "/a/../b"}, 422),
        (b"not json", 415),
    ],
)
def test_bad_input_is_a_clear_problem(running: Daemon, body: Any, status: int) -> None:
    answer = running.request("POST", "/v1/sandboxes", body)
    assert answer.status == status
    assert answer.json()["type"].startswith("/problems/")
    assert answer.json()["detail"]


def test_nothing_is_left_behind(running: Daemon, image: str) -> None:
    kept = running.request("POST", "/v1/sandboxes", {"image": image, "command": ["sleep", "30"]}).json()
    assert running.containers() == 1
    for options in ({"files": {"a/../../b": "x"}}, {"privileged": True}, {"working_dir": "/proc/1/nope"}):
        running.request("POST", "/v1/sandboxes?wait=true", {"image": image, "command": ["true"], **options})
    assert running.containers() == 1
    assert running.request("DELETE", f"/v1/sandboxes/{kept['id']}").status == 204
    assert running.containers() == 0


def test_another_uid_sees_and_touches_nothing(running: Daemon, image: str) -> None:
    sandbox = running.launch(image, "sleep", "30")
    path = f"/v1/sandboxes/{sandbox['id']}"
    for listed in ("/v1/sandboxes?limit=1000", "/v1/events"):
        assert sandbox["id"] in running.request("GET", listed).body.decode()
        assert sandbox["id"] not in running.request_as(OTHER_UID, "GET", listed).body.decode()
    for method, suffix in [
        ("GET", ""),
        ("POST", "/kill"),
        ("POST", "/exec"),
        ("GET", "/attach"),
        ("GET", "/logs"),
        ("GET", "/files/x"),
        ("PUT", "/files/x"),
        ("DELETE", ""),
    ]:
        assert running.request_as(OTHER_UID, method, path + suffix).status == 404
    assert sandbox["id"] not in running.request_as(OTHER_UID, "GET", "/v1/events").body.decode()
    assert running.request("GET", path).json()["state"] == "running"
    assert running.request("DELETE", path).status == 204


@pytest.mark.parametrize("path", ["/v1/sandboxes?waite=true", "/v1/events?followed=true", "/healthz?deep=1"])
def test_a_parameter_that_nobody_knows_is_refused(running: Daemon, path: str) -> None:
    answer = running.request("GET", path)
    assert (answer.status, answer.json()["type"]) == (400, "/problems/invalid-query")
    assert path.partition("?")[2].partition("=")[0] in answer.json()["detail"]

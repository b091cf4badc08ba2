"""What must not be launched is not, says why, and leaves nothing behind."""

from __future__ import annotations

import socket
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


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"unknown": 1}, "unknown"),
    ({"image": ""}, "image"),
    ({"image": "-x"}, "image"),
    ({"image": "a" * 600}, "image"),
    ({"image": "a b"}, "image"),
    ({"image": None}, "image"),
    ({"command": [1]}, "command"),
    ({"command": ["a\0b"]}, "command"),
    ({"command": ["x"] * 1025}, "command"),
    ({"args": ["x" * (128 * 1024 + 1)]}, "args"),
    ({"env": {"1A": "x"}}, "env"),
    ({"env": {"A=B": "x"}}, "env"),
    ({"env": {"A": "\0"}}, "env"),
    ({"env": {f"A{i}": "" for i in range(257)}}, "env"),
    ({"stdin": "x" * ((1 << 20) + 1)}, "stdin"),
    ({"stdin": "x", "interactive": True}, "stdin and interactive"),
    ({"working_dir": "relative"}, "working_dir"),
    ({"working_dir": "/a/../b"}, "working_dir"),
    ({"working_dir": ""}, "working_dir"),
    ({"user": -1}, "user"),
    ({"user": 1 << 31}, "user"),
    ({"user": "root"}, "user"),
    ({"group": 1.5}, "group"),
    ({"profile": "../strict"}, "profile"),
    ({"profile": ""}, "profile"),
    ({"session_id": "a/b"}, "session_id"),
    ({"session_id": "a" * 64}, "session_id"),
    ({"capabilities": ["sys_admin"]}, "capabilities"),
    ({"mounts": [{"source": "relative", "target": "/x"}]}, "mounts.0.source"),
    ({"mounts": [{"source": "/x", "target": "/x", "options": "rw"}]}, "mounts.0.options"),
    ({"mounts": [{"source": "/x", "target": "/x", "propagation": "all"}]}, "mounts.0.propagation"),
    ({"devices": ["sda"]}, "devices"),
    ({"host_namespaces": ["time"]}, "host_namespaces"),
    ({"seccomp": "none"}, "seccomp"),
    ({"apparmor": ""}, "apparmor"),
    ({"tty": "yes please"}, "tty"),
    ({"runtime": "../runc"}, "runtime"),
    ({"limits": {"memory": "lots"}}, "limits.memory"),
    ({"limits": {"memory": "1m"}}, "limits.memory"),
    ({"limits": {"memory": -1}}, "limits.memory"),
    ({"limits": {"cpus": 0}}, "limits.cpus"),
    ({"limits": {"cpus": "NaN"}}, "limits.cpus"),
    ({"limits": {"pids": 15}}, "limits.pids"),
    ({"limits": {"swap": "8m", "memory": "16m"}}, "limits.swap"),
    ({"limits": {"timeout_s": 0}}, "limits.timeout_s"),
    ({"limits": {"timeout_s": "soon"}}, "limits.timeout_s"),
    ({"limits": {"timeout_s": 1e9}}, "limits.timeout_s"),
    ({"limits": {"output": 1}}, "limits.output"),
    ({"limits": {"nofile": 1 << 21}}, "limits.nofile"),
    ({"limits": {"core": "2g"}}, "limits.core"),
    ({"limits": {"gpus": 1}}, "limits.gpus"),
    ({"limits": 5}, "limits"),
    ({"labels": {"UPPER": "x"}}, "labels"),
    ({"labels": {"container-kit.sandbox": "x"}}, "reserved"),
    ({"files": {"a": {"content": "!", "encoding": "base64"}}}, "files"),
    ({"files": {"a": {"content": "x", "mode": 0o4755}}}, "mode"),
    ({"files": {"": "x"}}, "files"),
    ({"files": {str(i): "" for i in range(257)}}, "files"),
    ({"security_policy": {"trusted_registries": [""]}}, "trusted_registries"),
]


@pytest.mark.parametrize(
    ("options", "named"), WRONG, ids=[f"{next(iter(o))}-{i}" for i, (o, _) in enumerate(WRONG)]
)
@pytest.mark.parametrize("path", ["/v1/sandboxes", "/v1/validate"])
def test_a_wrong_option_is_named(running: Daemon, path: str, options: dict[str, Any], named: str) -> None:
    answer = running.request("POST", path, {"image": "x", **options})
    assert (answer.status, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert named in answer.json()["detail"]
    assert len(answer.body) < 2000  # what was wrong is not sent back


@pytest.mark.parametrize("path", ["/v1/sandboxes", "/v1/validate"])
def test_an_image_without_a_command_needs_one(running: Daemon, image: str, path: str) -> None:
    answer = running.request("POST", path, {"image": image})
    assert (answer.status, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert answer.json()["reasons"] == ["command: the image has none of its own: name the program to run"]


def test_every_wrong_option_is_named_at_once(running: Daemon) -> None:
    body = {"user": -1, "limits": {"pids": 1}, "nope": 1}
    reasons = running.request("POST", "/v1/sandboxes", body).json()["reasons"]
    assert [reason.partition(":")[0] for reason in reasons] == ["image", "user", "limits.pids", "nope"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"{", {}, 422, "invalid-request"),
        (b"", {}, 422, "invalid-request"),
        (b"\xff", {}, 422, "invalid-request"),
        (b"[]", {}, 422, "invalid-request"),
        (b"null", {}, 422, "invalid-request"),
        (b"[" * 100_000, {}, 422, "invalid-request"),
        (b'{"image": "\\ud800"}', {}, 422, "invalid-request"),
        (b'{"image": "x", "limits": {"cpus": 1e999}}', {}, 422, "invalid-request"),
        (b'{"image": "x", "limits": {"pids": 1' + b"0" * 5000 + b"}}", {}, 422, "invalid-request"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "not-json"),
        (b"x" * (9 << 20), {}, 413, "too-large"),
        (b'{"image": "no-such-image:1"}', {}, 422, "image-not-found"),
        (b'{"image": "x", "profile": "nope"}', {}, 403, "not-permitted"),
    ],
)
def test_a_body_that_is_no_request_is_a_clear_problem(
    running: Daemon, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = running.request("POST", "/v1/sandboxes", body, {"Content-Type": "application/json", **headers})
    assert (answer.status, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/sandboxes/", 404, "not-found"),
        ("GET", "/v1/sandboxes/..%2f..%2fetc", 404, "not-found"),
        ("GET", "/v1/sandboxes/" + "x" * 4000, 404, "not-found"),
        ("GET", "/v1/sandboxes/%00", 404, "not-found"),
        ("PUT", "/v1/sandboxes", 405, "method-not-allowed"),
        ("DELETE", "/v1/events", 405, "method-not-allowed"),
        ("POST", "/v1/sandboxes?wait=maybe", 400, "invalid-query"),
    ],
)
def test_a_route_that_is_none_is_a_clear_problem(
    running: Daemon, method: str, path: str, status: int, kind: str
) -> None:
    answer = running.request(method, path)
    assert (answer.status, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert status != 405 or answer.headers["Allow"]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/sandboxes HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/sandboxes HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/sandboxes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_refused(running: Daemon, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(running.socket))
        client.sendall(sent)
        assert client.recv(4096).split(b"\r\n")[0].split()[1] in {b"400", b"415", b"431"}
    assert running.request("GET", "/healthz").status == 200


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

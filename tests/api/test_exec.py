"""One more program in a running sandbox: no less confined than the first."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.running import Answer, Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

# Of proc(5), what confines a process; all of it must be the same for a program that came later.
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
CONFINEMENT = ("Uid", "Gid", "Groups", *CAPABILITIES, "NoNewPrivs", "Seccomp")


@pytest.fixture(scope="module")
def sandbox(running: Daemon, image: str) -> Iterator[str]:
    """It tells its own confinement, then sleeps."""
    command = ["sh", "-c", "cat /proc/self/status; sleep 120"]
    sandbox_id = running.launch(image, *command)["id"]
    yield sandbox_id
    running.request("DELETE", f"/v1/sandboxes/{sandbox_id}")


def execute(running: Daemon, sandbox_id: str, *command: str, **options: Any) -> Answer:
    return running.request("POST", f"/v1/sandboxes/{sandbox_id}/exec", {"command": list(command), **options})


def written(answer: Answer, stream: str) -> bytes:
    lines = [line for line in answer.lines() if line.get("stream") == stream]
    return b"".join(
        base64.b64decode(line["base64"]) if "base64" in line else line["data"].encode() for line in lines
    )


def status(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split()[1:] for line in text.splitlines() if ":" in line}


def test_output_and_exit_code_come_back_each_for_itself(running: Daemon, sandbox: str) -> None:
    answer = execute(running, sandbox, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert answer.status == 200
    assert (written(answer, "stdout"), written(answer, "stderr")) == (b"out\n", b"err\n")
    assert answer.lines()[-1] == {"exit_code": 7}


def test_it_is_confined_as_the_first_program(running: Daemon, sandbox: str) -> None:
    first = "".join(line["data"] for line in running.request("GET", f"/v1/sandboxes/{sandbox}/logs").lines())
    later = written(execute(running, sandbox, "cat", "/proc/self/status"), "stdout").decode()
    assert {name: status(later)[name] for name in CONFINEMENT} == {
        name: status(first)[name] for name in CONFINEMENT
    }
    assert status(later)["Uid"] == ["1000"] * 4
    assert (status(later)["NoNewPrivs"], status(later)["Seccomp"]) == (["1"], ["2"])
    assert {status(later)[name][0] for name in CAPABILITIES} == {"0" * 16}


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs x /tmp",
        "unshare -r true",
        "touch /new",
        "cp /bin/busybox /workspace/dropped && /workspace/dropped true",
        "mknod /tmp/disk b 8 0",
    ],
)
def test_what_is_denied_to_the_first_is_denied_to_it(running: Daemon, sandbox: str, script: str) -> None:
    assert execute(running, sandbox, "sh", "-c", script).lines()[-1]["exit_code"] != 0


def test_it_counts_against_the_limits_of_the_sandbox(running: Daemon, image: str) -> None:
    limits = {"pids": 16, "memory": "32m"}
    sandbox_id = running.launch(image, "sleep", "60", limits=limits)["id"]
    script = "for i in $(seq 20); do sleep 20 & done; echo all"
    answer = execute(running, sandbox_id, "sh", "-c", script)
    assert b"all" not in written(answer, "stdout")
    assert running.request("GET", f"/v1/sandboxes/{sandbox_id}/usage").json()["pids"] <= 16
    running.request("DELETE", f"/v1/sandboxes/{sandbox_id}")


def test_environment_and_folder_are_as_asked(running: Daemon, sandbox: str) -> None:
    script = 'pwd; echo "$APP_X"'
    answer = execute(running, sandbox, "sh", "-c", script, env={"APP_X": "a=b"}, working_dir="/tmp")
    assert written(answer, "stdout") == b"/tmp\na=b\n"


def test_bytes_are_exact(running: Daemon, sandbox: str) -> None:
    answer = execute(running, sandbox, "sh", "-c", r"printf 'a\000\377\n'; head -c 300000 /dev/zero")
    assert written(answer, "stdout") == b"a\0\xff\n" + bytes(300_000)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exec >/dev/null 2>&1; sleep 0.7; exit 5", 5),  # closes its output long before its end
        ("kill -9 $$", 137),
    ],
)
def test_the_exit_code_is_the_real_one(running: Daemon, sandbox: str, script: str, code: int) -> None:
    assert execute(running, sandbox, "sh", "-c", script).lines()[-1] == {"exit_code": code}


def test_a_program_that_is_not_there(running: Daemon, sandbox: str) -> None:
    answer = execute(running, sandbox, "no-such-program")
    assert answer.status == 200
    assert answer.lines()[-1]["exit_code"] in {126, 127}


def test_many_at_once_do_not_mix(running: Daemon, sandbox: str) -> None:
    def run(number: int) -> tuple[bytes, Any]:
        answer = execute(running, sandbox, "sh", "-c", f"echo {number}; exit {number}")
        return written(answer, "stdout"), answer.lines()[-1]

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(run, range(8))) == [
            (f"{number}\n".encode(), {"exit_code": number}) for number in range(8)
        ]


@pytest.mark.parametrize(
    "options", [{"user": 0}, {"privileged": True}, {"tty": True}, {"command": []}, {"env": {"A": "\0"}}]
)
def test_an_option_that_would_loosen_it_does_not_exist(
    running: Daemon, sandbox: str, options: dict[str, Any]
) -> None:
    answer = running.request("POST", f"/v1/sandboxes/{sandbox}/exec", {"command": ["id"], **options})
    assert (answer.status, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert next(iter(options)) in answer.json()["detail"]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "BASH_ENV", "PERL5OPT"])
def test_a_variable_that_the_profile_does_not_pass_is_refused(
    running: Daemon, sandbox: str, name: str
) -> None:
    answer = execute(running, sandbox, "id", env={name: "x"})
    assert (answer.status, answer.json()["type"]) == (403, "/problems/not-permitted")
    assert name in answer.json()["detail"]


def test_a_profile_without_exec_refuses_it(running: Daemon, image: str) -> None:
    sandbox_id = running.launch(image, "sleep", "30", profile="strict")["id"]
    answer = execute(running, sandbox_id, "id")
    assert (answer.status, answer.json()["type"]) == (403, "/problems/not-permitted")
    running.request("DELETE", f"/v1/sandboxes/{sandbox_id}")


def test_an_ended_or_paused_sandbox_says_so(running: Daemon, image: str) -> None:
    sandbox_id = running.launch(image, "sleep", "60")["id"]
    path = f"/v1/sandboxes/{sandbox_id}"
    assert running.request("POST", f"{path}/pause").status == 200
    assert execute(running, sandbox_id, "id").json()["type"] == "/problems/wrong-state"
    assert running.request("POST", f"{path}/kill").status == 200
    running.request("GET", f"{path}/result")
    for method, what in [("POST", "exec"), ("POST", "pause"), ("POST", "resume"), ("GET", "usage")]:
        body = {"command": ["id"]} if what == "exec" else None
        answer = running.request(method, f"{path}/{what}", body)
        assert (answer.status, answer.json()["type"]) == (409, "/problems/sandbox-ended"), what


def test_it_ends_with_its_sandbox(running: Daemon, image: str) -> None:
    sandbox_id = running.launch(image, "sleep", "1")["id"]
    started_s = time.monotonic()
    answer = execute(running, sandbox_id, "sleep", "60")
    assert time.monotonic() - started_s < 20
    assert answer.status == 200
    assert answer.lines()[-1] != {"exit_code": 0}


def test_who_ran_what_is_recorded_and_is_no_break_in(running: Daemon, image: str) -> None:
    sandbox_id = running.launch(image, "sleep", "30")["id"]
    execute(running, sandbox_id, "echo", "x" * 1000)
    running.request("DELETE", f"/v1/sandboxes/{sandbox_id}")
    events = [event for event in running.events() if event.get("sandbox_id") == sandbox_id]
    (event,) = [e for e in events if e["event_type"] == "SANDBOX_ACCESSED" and e["action"] == "exec"]
    assert event["details"] == {"owner_uid": 0, "command": ["echo", "x" * 256]}
    assert event["actor"]["uid"] == 0
    assert "SECURITY_VIOLATION" not in {e["event_type"] for e in events}

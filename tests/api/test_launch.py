"""The main line over the real socket, on a real engine and kernel."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.kernel.test_seccomp import OTHER_ABI_REFUSALS, departures, other_abi_answers
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def test_output_and_exit_code_come_back(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result["exit_code"], result["stdout"], result["stderr"]) == (3, "out\n", "err\n")


def test_files_stdin_and_environment_go_in(running: Daemon, image: str) -> None:
    result = running.run(
        image,
        "sh",
        "-c",
        'cat; cat d/f; echo "$APP_X"',
        stdin="in\n",
        files={"d/f": "file\n"},
        env={"APP_X": "x"},
    )
    assert result["stdout"] == "in\nfile\nx\n"


def test_a_signal_is_told_from_an_exit(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", "kill -TERM $$")
    assert (result["exit_code"], result["signal"]) == (143, 15)


def test_a_command_that_does_not_exist(running: Daemon, image: str) -> None:
    result = running.run(image, "/no/such/program")
    assert result["exit_code"] == 127
    assert "cannot run /no/such/program" in result["stderr"]


def test_output_is_streamed_as_it_comes(running: Daemon, image: str) -> None:
    body = {"image": image, "command": ["sh", "-c", r"echo a; printf '\377'; echo b >&2"]}
    lines = running.request(
        "POST", "/v1/sandboxes?wait=true", body, {"Accept": "application/x-ndjson"}
    ).lines()
    assert lines[0]["sandbox"]["state"] == "running"
    streamed = b"".join(
        base64.b64decode(line["base64"]) if "base64" in line else line["data"].encode()
        for line in lines[1:-1]
        if line["stream"] == "stdout"
    )
    assert streamed == b"a\n\xff"
    assert lines[-1]["result"]["exit_code"] == 0


def test_output_beyond_its_limit_is_dropped_and_said(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", "yes | head -c 100000", limits={"output": "4k"})
    assert len(result["stdout"]) == 4096
    assert result["stdout_truncated"] is True
    assert result["stderr_truncated"] is False


def test_the_time_limit_kills(running: Daemon, image: str) -> None:
    started_s = time.monotonic()
    result = running.run(image, "sleep", "60", limits={"timeout_s": "500ms"})
    assert result["timed_out"] is True
    assert time.monotonic() - started_s < 20
    assert "time limit" in result["message"]


def test_the_memory_limit_kills(running: Daemon, image: str) -> None:
    result = running.run(image, "awk", 'BEGIN { s = "x"; while (1) s = s s }', limits={"memory": "16m"})
    assert result["oom_killed"] is True
    assert result["message"] == "container killed: memory limit exceeded"
    events = [e for e in running.events() if e.get("sandbox_id") == result["sandbox_id"]]
    exceeded = [e for e in events if e["event_type"] == "RESOURCE_LIMIT_EXCEEDED"]
    assert [e["details"]["kind"] for e in exceeded] == ["memory"]


def test_a_full_workspace_is_enospc_and_nothing_else(running: Daemon, image: str) -> None:
    result = running.run(
        image, "sh", "-c", "dd if=/dev/zero of=big bs=1k count=2000; echo $?", limits={"workspace_size": "1m"}
    )
    assert result["stdout"] != "0\n"
    assert "No space left" in result["stderr"]


def test_the_sandbox_seen_from_inside(running: Daemon, image: str) -> None:
    result = running.run(image, "/probe", profile="strict", limits={"output": "1m"})
    seen = json.loads(result["stdout"])
    assert seen["uid"] == [1000, 1000]
    assert seen["gid"] == [1000, 1000]
    assert [int(seen["status"][name], 16) for name in CAPABILITY_SETS] == [0] * 5
    assert seen["status"]["NoNewPrivs"] == "1"
    assert seen["status"]["Seccomp"] == "2"
    assert seen["interfaces"] == ["lo"]
    assert {folder: answer for folder, answer in seen["create"].items() if folder in {"/", "/etc", "/usr"}}
    assert all(seen["create"][folder] != "ok" for folder in seen["create"] if folder in {"/", "/etc", "/usr"})
    assert all(seen["exec"][folder] != "ok" for folder in ("/tmp", "/var/tmp", "/workspace", "/dev/shm"))
    assert seen["rlimits"]["nofile"] == [1024, 1024]
    assert seen["rlimits"]["core"] == [0, 0]
    assert departures("strict", seen) == {}
    assert other_abi_answers(seen) <= OTHER_ABI_REFUSALS


def test_the_build_profile_runs_what_it_made(running: Daemon, image: str) -> None:
    script = "cp /bin/busybox ./busybox && ./busybox echo made"
    assert running.run(image, "sh", "-c", script, profile="build")["stdout"] == "made\n"
    assert running.run(image, "sh", "-c", script, profile="default")["exit_code"] == 126


def test_the_workspace_is_read_after_the_end_and_gone_after_delete(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", "echo kept > result.txt; ln -s /etc/passwd link; mkfifo fifo")
    path = f"/v1/sandboxes/{result['sandbox_id']}"
    assert running.request("GET", f"{path}/files/result.txt").body == b"kept\n"
    assert running.request("GET", f"{path}/files/link").status == 400
    assert running.request("GET", f"{path}/files/fifo").status == 400
    assert running.request("GET", f"{path}/files/../../etc/passwd").status in {400, 404}
    assert running.request("DELETE", path).status == 204
    assert running.request("GET", f"{path}/files/result.txt").status == 404


def test_pause_resume_exec_usage_kill(running: Daemon, image: str) -> None:
    sandbox = running.request("POST", "/v1/sandboxes", {"image": image, "command": ["sleep", "60"]}).json()
    path = f"/v1/sandboxes/{sandbox['id']}"
    assert running.request("PUT", f"{path}/files/in", b"put in").status == 204
    lines = running.request(
        "POST", f"{path}/exec", {"command": ["sh", "-c", "cat in; id -u; exit 4"]}
    ).lines()
    assert "".join(line.get("data", "") for line in lines) == "put in1000\n"
    assert lines[-1] == {"exit_code": 4}
    assert running.request("POST", f"{path}/pause").json()["state"] == "paused"
    assert running.request("POST", f"{path}/pause").status == 409
    assert running.request("POST", f"{path}/resume").json()["state"] == "running"
    assert running.request("GET", f"{path}/usage").json()["pids"] >= 2
    assert running.request("POST", f"{path}/kill").status == 200
    result = running.request("GET", f"{path}/result").json()
    assert (result["killed"], result["signal"]) == (True, 9)


def test_the_time_limit_holds_for_a_paused_one(running: Daemon, image: str) -> None:
    sandbox = running.launch(image, "sleep", "60", limits={"timeout_s": 2})
    assert running.request("POST", f"/v1/sandboxes/{sandbox['id']}/pause").status == 200
    result = running.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
    assert (result["timed_out"], result["exit_code"]) == (True, 137)


def test_a_repeated_launch_with_a_key_is_the_same_sandbox(running: Daemon, image: str) -> None:
    body, key = {"image": image, "command": ["true"]}, {"Idempotency-Key": "once"}
    first, second = (running.request("POST", "/v1/sandboxes", body, key).json()["id"] for _ in range(2))
    assert first == second
    assert running.request("POST", "/v1/sandboxes", {**body, "command": ["false"]}, key).status == 409


def test_the_trace_of_the_caller_is_in_the_audit_log(running: Daemon, image: str) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    sandbox = running.request("POST", "/v1/sandboxes", {"image": image, "command": ["true"]}, headers).json()
    started = [e for e in running.events() if e.get("sandbox_id") == sandbox["id"]]
    assert started[0]["event_type"] == "EXECUTION_STARTED"
    assert started[0]["trace_id"] == trace


def test_the_image_and_the_profile_are_in_every_event(running: Daemon, image: str) -> None:
    report = running.request("POST", "/v1/validate", {"image": image, "command": ["true"]}).json()
    result = running.run(image, "true")
    events = [e for e in running.events() if e.get("sandbox_id") == result["sandbox_id"]]
    assert {e["event_type"] for e in events} >= {"EXECUTION_STARTED", "EXECUTION_FINISHED"}
    known = {(e.get("image_digest"), e.get("profile_digest")) for e in events}
    assert known == {(report["image_id"], report["profile_digest"])}


def test_the_pids_limit_is_reported(running: Daemon, image: str) -> None:
    script = "(for i in $(seq 30); do sleep 0.2 & done; wait); sleep 0.7"
    result = running.run(image, "sh", "-c", script, limits={"pids": 16})
    kinds = {
        e["details"].get("kind") for e in running.events() if e.get("sandbox_id") == result["sandbox_id"]
    }
    assert "pids" in kinds
    assert result["pids_peak"] == 16


@pytest.mark.parametrize(("script", "status"), [("sleep 2; exit 4", 4), ("exit 5", 5)])
def test_input_that_nobody_reads_is_no_obstacle(
    running: Daemon, image: str, script: str, status: int
) -> None:
    body = {"image": image, "command": ["sh", "-c", script], "stdin": "x" * (1 << 20)}
    sandbox = running.request("POST", "/v1/sandboxes", body).json()
    assert running.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()["exit_code"] == status


def test_large_input_arrives_whole(running: Daemon, image: str) -> None:
    assert running.run(image, "wc", "-c", stdin="x" * (1 << 20))["stdout"].strip() == str(1 << 20)

"""Limits under cgroup v2 and the systemd driver: enforced, told in the result, recorded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import Daemon
from tests.vm.guest.sandboxes import ask, details, launch

MIB = 1 << 20
OOM_MESSAGE = "container killed: memory limit exceeded"
EAT = "tail /dev/zero"  # keeps the last line, which never ends


def exceeded(kit: Daemon, sandbox_id: str) -> list[str]:
    return [excess["kind"] for excess in details(kit, sandbox_id, "RESOURCE_LIMIT_EXCEEDED")]


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("program", [EAT.split(), ["sh", "-c", f"{EAT}; exit $?"]], ids=["alone", "child"])
def test_memory(kit: Daemon, image: str, program: list[str], attempt: int) -> None:
    """More than once: systemd removes a cgroup as soon as it is empty, and its counters with it."""
    result = kit.run(image, *program, profile="strict", limits={"memory": "32m"})
    assert (result["exit_code"], result["oom_killed"]) == (137, True), attempt
    assert result["message"] == OOM_MESSAGE
    assert 16 * MIB < result["memory_peak_bytes"] <= 32 * MIB
    (excess,) = details(kit, result["sandbox_id"], "RESOURCE_LIMIT_EXCEEDED")
    assert excess == {"kind": "memory", "limit": 32 * MIB, "message": OOM_MESSAGE}


def test_processes(kit: Daemon, image: str) -> None:
    script = "for i in $(seq 20); do sleep 3 & done; wait; echo through"
    result = kit.run(image, "sh", "-c", script, profile="strict", limits={"pids": 16})
    assert "can't fork" in result["stderr"]
    assert result["pids_peak"] == 16
    assert exceeded(kit, result["sandbox_id"]) == ["pids"]


def test_time(kit: Daemon, image: str) -> None:
    result = kit.run(image, "sleep", "300", profile="strict", limits={"timeout_s": "2s"})
    assert (result["exit_code"], result["timed_out"]) == (137, True)
    assert result["message"] == "container killed: time limit of 2 s exceeded"
    assert exceeded(kit, result["sandbox_id"]) == ["timeout"]


def test_workspace(kit: Daemon, image: str) -> None:
    script = "dd if=/dev/zero of=big bs=64k count=100; echo $?"
    result = kit.run(image, "sh", "-c", script, profile="strict", limits={"workspace_size": "1m"})
    assert "No space left" in result["stderr"]
    assert exceeded(kit, result["sandbox_id"]) == ["workspace"]


def test_cpu(kit: Daemon, image: str) -> None:
    """A tenth of a core, on an emulated one: what is attested is the quota, what is counted is its use."""
    script = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done"
    result = kit.run(image, "sh", "-c", script, profile="strict", limits={"cpus": 0.1, "timeout_s": "4s"})
    assert result["timed_out"] is True
    assert 0.05e9 < result["cpu_ns"] < 1.5e9


def test_a_kill(kit: Daemon, image: str) -> None:
    sandbox = launch(kit, image, "sleep", "300", profile="strict")
    ask(kit, "POST", sandbox, "/kill")
    result: Any = ask(kit, "GET", sandbox, "/result")
    assert (result["exit_code"], result["killed"], result["oom_killed"]) == (137, True, False)
    assert exceeded(kit, sandbox["id"]) == []

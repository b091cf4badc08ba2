"""The end of a daemon, ordered or not: no sandbox goes on unwatched, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.running import Daemon
from tests.vm.guest.sandboxes import ask, details, launch
from tests.vm.guest.unit import (
    SERVICE,
    SOCKET_UNIT,
    await_that,
    command,
    containers,
    main_pid,
    shown,
    systemctl,
)

SLICE = Path("/sys/fs/cgroup/containerkit.slice")


def inits() -> list[str]:
    """Pids of first processes of sandboxes, wherever they come from."""
    lines = {path.parent.name: _text(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [pid for pid, line in lines.items() if line.startswith("/.container-kit-init\0")]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it has ended since


def test_a_restart_ends_sandboxes_with_an_event_for_each(kit: Daemon, image: str) -> None:
    sandboxes = [launch(kit, image, "sleep", "600", profile="strict") for _ in range(2)]
    assert len(inits()) == 2
    before = main_pid()
    systemctl("restart", SERVICE)
    assert main_pid() not in {0, before}
    assert (containers(), inits()) == ([], [])
    for sandbox in sandboxes:
        (finished,) = details(kit, sandbox["id"], "EXECUTION_FINISHED")
        assert finished["exit_code"] == 137
    assert kit.run(image, "echo", "again", profile="strict")["stdout"] == "again\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_daemon_that_dies_is_replaced_and_its_sandboxes_are_taken_over(
    kit: Daemon, image: str, how: signal.Signals
) -> None:
    sandbox = launch(kit, image, "sleep", "600", profile="strict")
    before, restarts = main_pid(), int(shown("NRestarts"))
    os.kill(before, how)  # a stopped one gives no sign of life: the watchdog's case
    await_that(lambda: int(shown("NRestarts")) > restarts and shown("ActiveState") == "active")
    assert main_pid() not in {0, before}
    (adopted,) = details(kit, sandbox["id"], "SANDBOX_ADOPTED")
    assert adopted["container_id"] == sandbox["container_id"]
    assert ask(kit, "GET", sandbox, "/usage")["pids"] == 2
    ask(kit, "POST", sandbox, "/kill")
    assert ask(kit, "GET", sandbox, "/result")["exit_code"] == 137
    assert (containers(), inits()) == ([], [])


def test_an_engine_that_restarts_costs_its_sandboxes_alone(kit: Daemon, image: str) -> None:
    sandbox = launch(kit, image, "sleep", "600", profile="strict")
    before = main_pid()
    systemctl("restart", "docker.service")
    result = kit.request("GET", f"/v1/sandboxes/{sandbox['id']}/result")
    assert result.status == 200, result.body
    assert result.json()["exit_code"] in {137, 143, None}  # the engine asks before it kills
    assert kit.run(image, "echo", "again", profile="strict")["stdout"] == "again\n"
    assert main_pid() == before
    assert (containers(), inits()) == ([], [])


def test_a_stop_leaves_nothing_behind(kit: Daemon, image: str) -> None:
    kit.run(image, "true", profile="strict")  # one whose workspace is kept
    launch(kit, image, "sleep", "600", profile="strict")
    systemctl("stop", SOCKET_UNIT, SERVICE)
    assert (shown("ActiveState"), shown("Result")) == ("inactive", "success")
    assert (containers(), inits()) == ([], [])
    assert [path for path in SLICE.iterdir() if path.is_dir()] == []  # itself systemd keeps: it is empty
    assert "/workspace" not in command("cat", "/proc/self/mountinfo")
    assert command("docker", "volume", "ls", "--quiet") == ""
    assert list(Path("/var/cache/container-kit").iterdir()) == []

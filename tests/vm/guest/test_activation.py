"""The units as installed: started by a connection, watched, open to the group and to nobody else."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.running import Daemon
from tests.vm.guest.unit import SERVICE, SOCKET_UNIT, await_that, command, main_pid, shown, systemctl

CLIENT = "/usr/bin/container-kit"
MEMBER_UID, STRANGER_UID = 4711, 4712
# CHOWN, DAC_OVERRIDE, FOWNER, NET_ADMIN, SYS_PTRACE, PERFMON, BPF: linux/capability.h
CAPABILITIES = (0, 1, 3, 5, 10, 12, 19, 38, 39)


def as_user(uid: int, *groups: str) -> list[str]:
    gids = [line.split(":")[2] for group in groups for line in [command("getent", "group", group)]]
    chosen = ["--groups", ",".join(gids)] if gids else ["--clear-groups"]
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), *chosen, CLIENT]


def test_a_connection_starts_the_service(kit: Daemon) -> None:
    systemctl("stop", SERVICE)
    assert (shown("ActiveState"), shown("ActiveState", SOCKET_UNIT)) == ("inactive", "active")
    assert kit.request("GET", "/healthz").status == 200
    await_that(lambda: shown("ActiveState") != "activating")
    assert (shown("ActiveState"), shown("SubState"), shown("Type")) == ("active", "running", "notify")
    assert kit.request("GET", "/readyz").status == 200


def test_it_gives_signs_of_life(kit: Daemon) -> None:
    kit.request("GET", "/healthz")
    assert shown("WatchdogUSec") == "30s"
    before = int(shown("WatchdogTimestampMonotonic"))
    assert before > 0
    await_that(lambda: int(shown("WatchdogTimestampMonotonic")) > before)
    assert shown("NRestarts") == "0"


def test_its_files_are_root_s_and_the_group_s(kit: Daemon) -> None:
    kit.request("GET", "/healthz")
    status = kit.socket.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert kit.socket.group() == "container-kit"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (kit.state, kit.state / "audit")} == {0o700}
    assert stat.S_IMODE((kit.state / "audit/audit.jsonl").stat().st_mode) == 0o600


def test_a_member_of_the_group_can_launch(kit: Daemon, image: str) -> None:
    run = [*as_user(MEMBER_UID, "container-kit"), "run", "--profile", "strict", image, "id", "-u"]
    assert command(*run) == "1000\n"
    started = [event for event in kit.events() if event["event_type"] == "EXECUTION_STARTED"]
    assert started[-1]["actor"]["uid"] == MEMBER_UID


def test_nobody_else_can_connect(kit: Daemon) -> None:
    kit.request("GET", "/healthz")
    done = subprocess.run([*as_user(STRANGER_UID), "ps"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ermission" in done.stderr


def test_the_doctor_finds_every_lock(kit: Daemon) -> None:
    found = {item["name"]: item for item in json.loads(command(CLIENT, "doctor", "--json"))}
    assert [name for name, item in found.items() if not item["ok"]] == [
        "user ids"
    ]  # Debian's engine has no map
    details = [found[name]["detail"] for name in ("apparmor", "cgroups", "sensor")]
    assert details == ["loaded: container-kit-sandbox", "v2, systemd driver", "best tier: ebpf-lsm"]


@pytest.mark.parametrize(
    ("field", "value"), [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", None), ("CapBnd", None)]
)
def test_it_runs_as_hardened_as_its_unit_says(kit: Daemon, field: str, value: str | None) -> None:
    kit.request("GET", "/healthz")
    kept = sum(1 << number for number in CAPABILITIES)
    lines = Path(f"/proc/{main_pid()}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status[field] == (value or f"{kept:016x}")

"""The package taken away again: settings and evidence stay, and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.running import Daemon
from tests.vm.guest.sandboxes import launch
from tests.vm.guest.unit import SERVICE, SOCKET_UNIT, command, containers, shown


def test_a_removal_ends_sandboxes_and_keeps_settings_and_the_log(kit: Daemon, image: str) -> None:
    launch(kit, image, "sleep", "600", profile="strict")
    command("dpkg", "--remove", "container-kit")
    assert (shown("LoadState"), shown("LoadState", SOCKET_UNIT)) == ("not-found", "not-found")
    assert shown("ActiveState") == "inactive", SERVICE
    assert containers() == []
    assert "container-kit" not in Path("/sys/kernel/security/apparmor/profiles").read_text()
    assert not kit.socket.exists()
    assert Path("/etc/container-kit/config.toml").exists()
    assert [event["event_type"] for event in kit.events()][-1] == "DAEMON_STOPPED"

"""Under the unit's own limits the network of a container can be cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Daemon
from tests.vm.guest.unit import await_that, command, settings

CONFIG = 'watch = "all"\nunmanaged_response = "quarantine"\n'
MOUNTS = "until [ -e /go ]; do sleep 0.2; done; mount -t proc own /root; sleep 600"


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """Of somebody else, with what it takes to mount."""
    options = (
        "--cap-add=SYS_ADMIN",
        "--security-opt=apparmor=unconfined",
        "--security-opt=seccomp=unconfined",
    )
    started = command("docker", "run", "-d", *options, image, "sh", "-c", MOUNTS).strip()
    yield started
    command("docker", "rm", "-f", started)


def wires() -> list[list[str]]:
    """The host's ends of the containers' networks: name and state."""
    return [line.split()[:2] for line in command("ip", "-br", "link", "show", "type", "veth").splitlines()]


def test_a_quarantine_sets_the_hosts_end_down(kit: Daemon, container: str) -> None:
    with settings(CONFIG):
        await_that(lambda: kit.request("GET", "/readyz").status == 200)
        assert [state for _, state in wires()] == ["UP"]
        command("docker", "exec", container, "touch", "/go")
        path = f"/v1/findings?container={container}&severity=critical"
        await_that(lambda: bool(kit.request("GET", path).json()["items"]))
        await_that(lambda: kit.request("GET", path).json()["items"][0]["action"] != "alert")
        assert kit.request("GET", path).json()["items"][0]["action"] == "quarantine"
        assert [state for _, state in wires()] == ["DOWN"]

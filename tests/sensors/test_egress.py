"""A confined sandbox reaches its networks and itself; its neighbour reaches everything."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

import pytest

from daemon.errors import SensorError
from daemon.events import Connected
from tests.sensors.watching import OPEN, Watching

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]
OUTSIDE = ("10.99.0.2", "10.99.0.3")
OPTIONS = (*OPEN, "--network=none")


def addresses(watching: Watching, container: str) -> None:
    """Two more addresses on its loopback: what they stand for is not loopback to the kernel program."""
    for address in OUTSIDE:
        command = [
            "nsenter",
            "-t",
            str(watching.pid(container)),
            "-n",
            "ip",
            "addr",
            "add",
            address,
            "dev",
            "lo",
        ]
        subprocess.run(command, check=True)


@pytest.fixture
def pair(watching: Watching) -> Iterator[tuple[str, str]]:
    """Two containers that listen on nothing: what gets through is refused by nobody but the port."""
    containers = tuple(watching.start("sleep", "300", options=OPTIONS) for _ in range(2))
    try:
        for container in containers:
            watching.await_enrolled(container)
            addresses(watching, container)
        yield containers  # type: ignore[misc]
    finally:
        for container in containers:
            watching.remove(container)


def errno_of(watching: Watching, container: str, *act: str) -> int:
    return int(watching.exec(container, "/act", *act).stdout.split()[1])


def test_only_its_networks_and_itself(watching: Watching, pair: tuple[str, str]) -> None:
    confined, neighbour = pair
    watching.do(watching.sensor.set_egress, confined, [IPv4Network("10.99.0.2/32"), IPv6Network("fd00::/8")])
    assert errno_of(watching, confined, "connect", OUTSIDE[0], "9") == errno.ECONNREFUSED
    assert errno_of(watching, confined, "connect", OUTSIDE[1], "9") == errno.EPERM
    assert errno_of(watching, confined, "connect", f"::ffff:{OUTSIDE[1]}", "9") == errno.EPERM
    assert errno_of(watching, confined, "connect", "127.0.0.1", "9") == errno.ECONNREFUSED
    assert errno_of(watching, confined, "connect", "fd00::1", "9") != errno.EPERM
    assert errno_of(watching, confined, "connect", "2001:db8::1", "9") == errno.EPERM
    assert errno_of(watching, neighbour, "connect", OUTSIDE[1], "9") == errno.ECONNREFUSED
    denied = [e for e in watching.events(confined, Connected) if e.syscall == "egress"]
    assert [(e.address, e.port, e.result) for e in denied] == [
        (OUTSIDE[1], 9, -errno.EPERM),
        (OUTSIDE[1], 9, -errno.EPERM),
        ("2001:db8::1", 9, -errno.EPERM),
    ]
    assert [e.family for e in denied] == [socket.AF_INET, socket.AF_INET, socket.AF_INET6]


@pytest.mark.parametrize("call", ["sendto", "sendmsg", "sendmmsg", "send"])
def test_datagrams(watching: Watching, pair: tuple[str, str], call: str) -> None:
    confined, neighbour = pair
    watching.do(watching.sensor.quarantine, confined)
    assert errno_of(watching, confined, "send", call, OUTSIDE[0], "53") != 0
    assert errno_of(watching, neighbour, "send", call, OUTSIDE[0], "53") == 0


def test_it_can_be_lifted_and_narrowed(watching: Watching, pair: tuple[str, str]) -> None:
    confined, _ = pair
    both = [IPv4Network("10.99.0.0/24")]
    for networks, expected in ((both, errno.ECONNREFUSED), ((), errno.EPERM), (None, errno.ECONNREFUSED)):
        watching.do(watching.sensor.set_egress, confined, networks)
        assert errno_of(watching, confined, "connect", OUTSIDE[0], "9") == expected


def test_two_hundred_tries(watching: Watching, pair: tuple[str, str]) -> None:
    confined, _ = pair
    watching.do(watching.sensor.quarantine, confined)
    watching.exec(confined, "/act", "repeat", "200", "connect", OUTSIDE[0], "9")
    denied = [e for e in watching.events(confined, Connected) if e.syscall == "egress"]
    assert len(denied) == 200


def test_a_container_in_the_hosts_network_cannot_be_confined(watching: Watching) -> None:
    """It would confine the host."""
    container = watching.start("sleep", "60", options=("--network=host",))
    try:
        watching.await_enrolled(container)
        with pytest.raises(SensorError, match="host's network"):
            watching.do(watching.sensor.quarantine, container)
    finally:
        watching.remove(container)

"""A confined sandbox reaches its networks and itself; its neighbour reaches everything."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from daemon.errors import SensorError
from daemon.events import Connected
from daemon.sensors.egress import Destination
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


def destinations(*networks: str) -> list[Destination]:
    return [Destination(ip_network(network)) for network in networks]


def errno_of(watching: Watching, container: str, *act: str) -> int:
    return int(watching.exec(container, "/act", *act).stdout.split()[1])


def test_two_hundred_of_two_hundred(watching: Watching, pair: tuple[str, str]) -> None:
    """Counted by the listener, too; its neighbour reaches as many."""
    confined, neighbour = pair
    watching.do(watching.sensor.set_egress, confined, destinations())
    command = ("/act", "connects", "200", OUTSIDE[1], "9")
    assert watching.exec(confined, *command).stdout.split() == ["200", "0", "0"]
    assert watching.exec(neighbour, *command).stdout.split() == ["0", "200", "200"]
    denied = [e for e in watching.events(confined, Connected) if e.syscall == "egress"]
    assert len(denied) >= 200


def test_only_its_networks_and_itself(watching: Watching, pair: tuple[str, str]) -> None:
    confined, neighbour = pair
    watching.do(watching.sensor.set_egress, confined, destinations("10.99.0.2/32", "fd00::/8"))
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
    both = destinations("10.99.0.0/24")
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


def test_ports_of_a_network_and_of_those_around_it(watching: Watching, pair: tuple[str, str]) -> None:
    confined, _ = pair
    wide = Destination(ip_network("10.99.0.0/24"), ((9, 9),))
    narrow = Destination(ip_network("10.99.0.2/32"), ((80, 90), (443, 443)))
    watching.do(watching.sensor.set_egress, confined, [wide, narrow])
    for port, expected in (("9", errno.ECONNREFUSED), ("90", errno.ECONNREFUSED), ("91", errno.EPERM)):
        assert errno_of(watching, confined, "connect", OUTSIDE[0], port) == expected
    assert errno_of(watching, confined, "connect", OUTSIDE[1], "443") == errno.EPERM


def test_one_address_more_and_less(watching: Watching, pair: tuple[str, str]) -> None:
    confined, _ = pair
    address = ip_address(OUTSIDE[1])
    watching.do(watching.sensor.set_egress, confined, destinations(OUTSIDE[0]))
    watching.do(watching.sensor.permit, confined, address, ((9, 9),))
    assert errno_of(watching, confined, "connect", OUTSIDE[1], "9") == errno.ECONNREFUSED
    watching.do(watching.sensor.retract, confined, address)
    assert errno_of(watching, confined, "connect", OUTSIDE[1], "9") == errno.EPERM
    watching.do(watching.sensor.quarantine, confined)
    watching.do(watching.sensor.permit, confined, address, ((9, 9),))
    assert errno_of(watching, confined, "connect", OUTSIDE[1], "9") == errno.EPERM


def test_ping_is_no_way_out(watching: Watching, pair: tuple[str, str]) -> None:
    confined, neighbour = pair
    watching.do(watching.sensor.quarantine, confined)
    ping = ("ping", "-c", "1", "-w", "2", OUTSIDE[0])
    assert watching.exec(neighbour, *ping).returncode == 0
    assert watching.exec(confined, *ping).returncode != 0

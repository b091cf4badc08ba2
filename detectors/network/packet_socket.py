"""Packet sockets: all traffic of the interface, as it is on the wire."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SocketCreated
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector

PACKET_SOCKET = Rule(
    id="packet-socket",
    title="Packet socket made",
    category=Category.NETWORK,
    severity=Severity.HIGH,
    techniques=("T1040", "T1557"),
    why="It reads and forges frames of the container's network: passwords of neighbours, ARP and DNS "
    "answers in another's name. Its ring buffers were the way of several kernel exploits.",
    remedy="Drop CAP_NET_RAW, which Docker gives by default.",
)

AF_INET, AF_PACKET, AF_XDP = 2, 17, 44
SOCK_PACKET = 10
"""The obsolete way to the same (socket(2))."""


class PacketSocket(Detector):
    """An attempt counts like a success: no ordinary program makes one."""

    rules = (PACKET_SOCKET,)
    events = (SocketCreated,)
    syscalls = frozenset({"socket"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SocketCreated):
            return
        if event.family in (AF_PACKET, AF_XDP) or (event.family, event.type) == (AF_INET, SOCK_PACKET):
            yield finding(
                PACKET_SOCKET,
                event,
                identifier=str(event.family),
                family=event.family,
                type=event.type,
                protocol=event.protocol,
                result=event.result,
            )

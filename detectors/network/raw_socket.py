"""Sockets below TCP and UDP: packets of one's own making."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SocketCreated
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.addresses import is_internet

RAW_SOCKET = Rule(
    id="raw-socket",
    title="Raw socket made",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1095", "T1046"),
    why="Raw sockets send what TCP and UDP would not: forged senders, half-open scans, tunnels in ICMP. "
    "ping uses one too, for ICMP.",
    remedy="Drop CAP_NET_RAW; ping works without it where net.ipv4.ping_group_range allows.",
)

AF_INET, AF_INET6 = 2, 10
SOCK_RAW = 3
IPPROTO_ICMP, IPPROTO_ICMPV6 = 1, 58
PINGS = frozenset({(AF_INET, IPPROTO_ICMP), (AF_INET6, IPPROTO_ICMPV6)})


class RawSocket(Detector):
    rules = (RAW_SOCKET,)
    events = (SocketCreated,)
    syscalls = frozenset({"socket"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SocketCreated) or event.type != SOCK_RAW:
            return
        if is_internet(event.family):
            ping = (event.family, event.protocol) in PINGS
            yield finding(
                RAW_SOCKET,
                event,
                severity=Severity.LOW if ping else None,
                identifier="ping" if ping else "raw",
                family=event.family,
                protocol=event.protocol,
                result=event.result,
            )

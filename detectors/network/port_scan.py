"""Many ports of one host, or many hosts of a network, in a short time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.events import Connected, DatagramSent, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox, Recent
from detectors.network.addresses import Address
from detectors.network.outward import SYSCALLS, attempted

PORT_SCAN = Rule(
    id="port-scan",
    title="Ports or hosts scanned",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1046", "T1018"),
    why="A program talks to the few services that it knows. One that tries many in turn looks for a way "
    "on to other machines.",
    remedy="Launch without a network, or with an allow-list of destinations.",
)

SPAN_NS = 60_000_000_000
PORTS = 15
HOSTS = 24
FIRST_EPHEMERAL = 32768
"""Above it, services that negotiate their port (FTP, RPC) use many: more are needed."""
EPHEMERAL_PORTS = 100
REMEMBERED_HOSTS = 64


class _Seen:
    def __init__(self) -> None:
        self.hosts: Recent[Address] = Recent(SPAN_NS)
        self.ports: Bounded[Address, Recent[int]] = Bounded(REMEMBERED_HOSTS)
        self.ephemeral: Bounded[Address, Recent[int]] = Bounded(REMEMBERED_HOSTS)


class PortScan(Detector):
    """Only hosts of private networks count as neighbours: a crawler visits many public ones."""

    rules = (PORT_SCAN,)
    events = (Connected, DatagramSent)
    syscalls = SYSCALLS

    def __init__(self) -> None:
        self._seen: PerSandbox[_Seen] = PerSandbox(_Seen)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        for call, address in attempted(event, sandbox):
            if call.port == 0 and isinstance(call, Connected):  # how the C library finds its own address
                continue
            seen = self._seen.of(event.sandbox)
            ports, enough = _count_ports(seen, address, call.port, event.time_ns)
            if ports >= enough:
                yield _found(event, "ports", different_ports=ports, address=call.address)
            if address.is_private and seen.hosts.add(address, event.time_ns) >= HOSTS:
                yield _found(event, "hosts", different_hosts=HOSTS, port=call.port)

    def forget(self, sandbox: str) -> None:
        self._seen.forget(sandbox)


def _count_ports(seen: _Seen, address: Address, port: int, now_ns: int) -> tuple[int, int]:
    """How many of this kind were tried on the host, and how many are a scan."""
    hosts, enough = (seen.ports, PORTS) if port < FIRST_EPHEMERAL else (seen.ephemeral, EPHEMERAL_PORTS)
    tried: Recent[int] = hosts.get(address) or Recent(SPAN_NS, limit=enough)
    hosts[address] = tried
    return tried.add(port, now_ns), enough


def _found(event: Event, what: str, **evidence: Any) -> Finding:
    return finding(PORT_SCAN, event, identifier=what, within_s=SPAN_NS // 1_000_000_000, **evidence)

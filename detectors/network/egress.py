"""Connections that the sandbox's policy does not have."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Connected, DatagramSent, Event, NameRefused
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.network.addresses import Address
from detectors.network.outward import SYSCALLS, attempted, is_allowed, is_under_way

EGRESS = Rule(
    id="egress-outside-policy",
    title="Connection to a destination outside the policy",
    category=Category.NETWORK,
    severity=Severity.HIGH,
    techniques=("T1071", "T1041"),
    why="The sandbox was given a list of destinations, or no network at all, and something in it wants "
    "to go elsewhere.",
    remedy="See which program it was. Add the destination to the profile if it is needed; else treat the "
    "workload as hostile.",
)

NAME = Rule(
    id="egress-name-refused",
    title="Lookup of a name outside the policy",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1071.004",),
    why="The sandbox was given a list of names. Another was asked for, or one that stands for an "
    "address of an inner network: the latter is how a name is turned against the host (DNS rebinding).",
    remedy="Add the name to the profile if it is needed, or its network if it is one of yours; else see "
    "which program asked.",
)

DNS_PORT = 53
DENIED = "egress"
"""The kernel side's own denial: it knows ports and lookups as well."""


class Egress(Detector):
    """Without a network a lookup is what any program tries first, and fails at: that is low."""

    rules = (EGRESS, NAME)
    events = (Connected, DatagramSent, NameRefused)
    syscalls = SYSCALLS

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, NameRefused):
            yield finding(NAME, event, identifier=_domain(event), name=clip(event.name), reason=event.reason)
        for call, address in attempted(event, sandbox):
            if call.port and (severity := _severity(call, address, sandbox)):
                yield finding(
                    EGRESS,
                    event,
                    severity=severity,
                    identifier=_kind(call, address, sandbox),
                    address=call.address,
                    port=call.port,
                    result=call.result,
                )


def _domain(event: NameRefused) -> str:
    """Random names below one domain are one finding."""
    return clip(".".join(event.name.split(".")[-2:]))


def _kind(call: Connected | DatagramSent, address: Address, sandbox: Expectation) -> str:
    """Without a network every destination is as wrong as the other."""
    if sandbox.networking:
        return str(address)
    return "lookup" if call.port == DNS_PORT else "connection"


def _severity(call: Connected | DatagramSent, address: Address, sandbox: Expectation) -> Severity | None:
    lookup = call.port == DNS_PORT
    if sandbox.networking:
        if call.syscall != DENIED and (sandbox.egress is None or is_allowed(address, sandbox)):
            return None
        return Severity.MEDIUM if lookup else Severity.HIGH
    if not sandbox.managed or lookup:
        return Severity.LOW
    return Severity.HIGH if is_under_way(call) else Severity.MEDIUM

"""Ports of services that sandboxes are abused for: mail, chat, anonymity networks."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Connected, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.network.outward import attempted

RELAY_PORT = Rule(
    id="relay-port",
    title="Mail, chat or anonymity service contacted",
    category=Category.NETWORK,
    severity=Severity.LOW,
    techniques=("T1071.003", "T1090.003"),
    why="Spam is sent, and bots are steered, from machines of others. A workload seldom has use for "
    "these services.",
    remedy="Allow only the destinations that the workload needs.",
)

SERVICES = {
    25: "mail",
    465: "mail",
    587: "mail",
    6667: "chat",
    6697: "chat",
    9001: "Tor",
    9030: "Tor",
    9050: "Tor proxy",
    9150: "Tor proxy",
}


class RelayPorts(Detector):
    rules = (RELAY_PORT,)
    events = (Connected,)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        for call, _ in attempted(event, sandbox):
            if service := SERVICES.get(call.port):
                yield finding(
                    RELAY_PORT,
                    event,
                    identifier=service,
                    address=call.address,
                    port=call.port,
                    service=service,
                    result=call.result,
                )

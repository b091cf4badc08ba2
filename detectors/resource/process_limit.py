"""Fork bombs: the pids limit is reached, or processes pile up where there is none."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Event, LimitReached, ProcessExited, ProcessForked, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox
from detectors.evidence import clip

PROCESS_LIMIT = Rule(
    id="process-limit",
    title="The limit of processes was reached",
    category=Category.RESOURCE,
    severity=Severity.HIGH,
    techniques=("T1499.001",),
    why="The sandbox tried to have more processes than it may. The limit holds a fork bomb in; what else "
    "runs in the sandbox cannot start anything any more.",
    remedy="Stop the sandbox. If its work needs as many processes, raise the limit in its profile.",
)
PROCESS_PILE = Rule(
    id="process-pile",
    title="Hundreds of processes live at once",
    category=Category.RESOURCE,
    severity=Severity.HIGH,
    techniques=("T1499.001",),
    why="Processes are started faster than they end. Without a pids limit this takes the host's process "
    "table.",
    remedy="Stop the sandbox and start it with a pids limit.",
)

FORKS = frozenset({"fork", "vfork", "clone", "clone3"})
MANY = 512


class ProcessLimit(Detector):
    rules = (PROCESS_LIMIT, PROCESS_PILE)
    events = (LimitReached, SyscallEvent, ProcessForked, ProcessExited)
    syscalls = FORKS

    def __init__(self) -> None:
        self._alive: PerSandbox[Bounded[int, None]] = PerSandbox(lambda: Bounded(MANY))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, LimitReached) and event.kind == "pids":
            yield finding(PROCESS_LIMIT, event, limit=event.limit, used=event.used)
        elif isinstance(event, SyscallEvent) and event.syscall in FORKS and event.result == -errno.EAGAIN:
            yield finding(PROCESS_LIMIT, event, syscall=clip(event.syscall), result=event.result)
        elif isinstance(event, ProcessExited):
            self._alive.of(event.sandbox).pop(event.process.pid, None)
        elif isinstance(event, ProcessForked):
            alive = self._alive.of(event.sandbox)
            alive[event.process.pid] = None
            if len(alive) == MANY:
                yield finding(PROCESS_PILE, event, alive_at_least=MANY)

    def forget(self, sandbox: str) -> None:
        self._alive.forget(sandbox)

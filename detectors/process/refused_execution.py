"""Programs that the kernel refused to run: the writable places of a sandbox are noexec."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import program

REFUSED_EXECUTION = Rule(
    id="refused-execution",
    title="A program was refused execution",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1059",),
    why="Something tried to run a file that it may not run: a dropped program on a noexec mount, or a "
    "search along PATH that met a file without the right to be executed.",
    remedy="Look at what was written to the sandbox's writable places before. Alone it is a trace, no alarm.",
)

CALLS = frozenset({"execve", "execveat"})


class RefusedExecution(Detector):
    rules = (REFUSED_EXECUTION,)
    events = (SyscallMade,)
    syscalls = CALLS

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallMade) and event.syscall in CALLS and event.refused:
            yield finding(REFUSED_EXECUTION, event, identifier=program(event), result=event.result)

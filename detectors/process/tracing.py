"""ptrace(2) of a process that is not the tracer's own child."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessTouched
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

TRACING = Rule(
    id="process-tracing",
    title="A process that is no child was traced",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1055.008",),
    why="A tracer reads and writes its target's memory and registers: it steals secrets and runs code in "
    "its name. Debuggers start what they debug; attaching to a stranger is injection.",
    remedy="Deny ptrace by seccomp where nobody debugs. Keep the pid namespace the sandbox's own.",
)

PTRACE_TRACEME = 0


class Tracing(Detector):
    rules = (TRACING,)
    events = (ProcessTouched,)
    syscalls = frozenset({"ptrace"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessTouched) or event.syscall != "ptrace":
            return
        if event.descendant or event.request == PTRACE_TRACEME:
            return
        yield attempt(
            TRACING,
            event,
            otherwise=Severity.MEDIUM,
            identifier=str(event.target_pid),
            target_pid=event.target_pid,
            request=hex(event.request),
        )

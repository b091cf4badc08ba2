"""Taking another process's descriptors (pidfd_getfd(2)) and comparing kernel objects (kcmp(2))."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessTouched
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

DESCRIPTOR_THEFT = Rule(
    id="descriptor-theft",
    title="A descriptor of another process was taken",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1055", "T1528"),
    why="pidfd_getfd copies an open file or socket out of another process: its connections and secrets "
    "with it.",
    remedy="Deny pidfd_getfd by seccomp and drop CAP_SYS_PTRACE.",
)
OBJECT_COMPARISON = Rule(
    id="object-comparison",
    title="Kernel objects of other processes compared",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1082", "T1068"),
    why="kcmp tells the order of kernel pointers, which helps exploits to lay out the kernel's memory.",
    remedy="Deny kcmp by seccomp. Some graphics drivers call it on themselves, which is not reported.",
)


class ProcessProbing(Detector):
    rules = (DESCRIPTOR_THEFT, OBJECT_COMPARISON)
    events = (ProcessTouched,)
    syscalls = frozenset({"pidfd_getfd", "kcmp"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessTouched) and event.syscall in self.syscalls:
            yield attempt(
                DESCRIPTOR_THEFT if event.syscall == "pidfd_getfd" else OBJECT_COMPARISON,
                event,
                severity=Severity.LOW if event.descendant else None,
                otherwise=Severity.LOW if event.descendant else Severity.MEDIUM,
                identifier=str(event.target_pid),
                target_pid=event.target_pid,
            )

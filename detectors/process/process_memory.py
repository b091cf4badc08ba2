"""Another process's memory by process_vm_readv(2) and process_vm_writev(2)."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessTouched
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

MEMORY_WRITE = Rule(
    id="process-memory-write",
    title="Memory of another process written",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1055",),
    why="process_vm_writev changes code and data of a running program. Debuggers use ptrace; what writes "
    "like this injects, even into a child that it started as a cover.",
    remedy="Deny process_vm_writev by seccomp and drop CAP_SYS_PTRACE.",
)
MEMORY_READ = Rule(
    id="process-memory-read",
    title="Memory of another process read",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1003", "T1055"),
    why="Keys and tokens lie in the memory of the programs that use them. Tracers read their own "
    "children like this, which is a trace alone.",
    remedy="Deny process_vm_readv by seccomp and drop CAP_SYS_PTRACE.",
)


class ProcessMemory(Detector):
    rules = (MEMORY_WRITE, MEMORY_READ)
    events = (ProcessTouched,)
    syscalls = frozenset({"process_vm_readv", "process_vm_writev"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessTouched) or event.syscall not in self.syscalls:
            return
        if event.syscall == "process_vm_writev":
            rule, stranger, own = MEMORY_WRITE, Severity.HIGH, Severity.MEDIUM
        else:
            rule, stranger, own = MEMORY_READ, Severity.MEDIUM, Severity.LOW
        yield attempt(
            rule,
            event,
            severity=own if event.descendant else stranger,
            otherwise=own if event.descendant else Severity.MEDIUM,
            identifier=str(event.target_pid),
            target_pid=event.target_pid,
        )

"""Calls by the 32-bit entry (int 0x80): the same numbers mean other calls there."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, program

COMPAT_ENTRY = Rule(
    id="compat-entry",
    title="System call by the 32-bit entry",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1562.001",),
    why="A 64-bit program that calls by the 32-bit table does so to slip past filters that look at the "
    "number alone. Only containers of 32-bit images have another reason.",
    remedy="Deny the 32-bit entry by seccomp, as every profile here does. Look at what the program called.",
)


class CompatCalls(Detector):
    rules = (COMPAT_ENTRY,)
    events = (SyscallEvent,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallEvent) and event.compat:
            yield finding(
                COMPAT_ENTRY,
                event,
                severity=Severity.HIGH if sandbox.managed else Severity.MEDIUM,
                identifier=program(event),
                syscall=clip(event.syscall),
                result=event.result,
            )

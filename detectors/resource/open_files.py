"""Descriptors used up: of the process, or of the whole host."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Event, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, program

OPEN_FILES = Rule(
    id="open-files-limit",
    title="No more files can be opened",
    category=Category.RESOURCE,
    severity=Severity.LOW,
    techniques=("T1499",),
    why="A process used up its descriptors: a leak, or an attempt to pin the kernel's memory. ENFILE "
    "instead of EMFILE says that the table of the whole host is full.",
    remedy="Keep RLIMIT_NOFILE and the pids limit low: their product is what a sandbox can pin.",
)


class OpenFiles(Detector):
    rules = (OPEN_FILES,)
    events = (SyscallEvent,)
    syscalls = frozenset({"socket"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallEvent) and event.result in (-errno.EMFILE, -errno.ENFILE):
            of_the_host = event.result == -errno.ENFILE
            yield finding(
                OPEN_FILES,
                event,
                severity=Severity.HIGH if of_the_host else Severity.LOW,
                identifier="host" if of_the_host else program(event),
                syscall=clip(event.syscall),
                result=event.result,
            )

"""Requests by a ring instead of by system calls (io_uring_setup(2))."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

IO_URING = Rule(
    id="io-uring-call",
    title="io_uring set up",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1562.001", "T1068"),
    why="Files opened and sockets connected through the ring pass neither seccomp nor the hooks of "
    "system calls, and the ring has been a source of kernel exploits. New runtimes probe for it, so "
    "a refused attempt alone says little.",
    remedy="Deny io_uring_setup by seccomp, as every profile here does, or set kernel.io_uring_disabled=2.",
)


SETUP = frozenset({"io_uring_setup", "io_uring_register"})
REQUEST = "io_uring:"
"""What a sensor names a request by the ring: io_uring:openat."""


class IoUring(Detector):
    rules = (IO_URING,)
    events = (SyscallEvent,)
    syscalls = SETUP

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SyscallEvent):
            return
        if event.syscall in SETUP:
            yield attempt(IO_URING, event, otherwise=Severity.LOW)
        elif event.syscall.startswith(REQUEST):
            yield attempt(IO_URING, event, otherwise=Severity.MEDIUM)

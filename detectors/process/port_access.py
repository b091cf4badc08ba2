"""Driving hardware by its I/O ports (iopl(2), ioperm(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

PORT_ACCESS = Rule(
    id="port-access-call",
    title="Raw I/O ports requested",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="Whoever drives the ports drives the hardware, past the kernel.",
    remedy="Stop the sandbox; on success treat the host as taken over. Drop CAP_SYS_RAWIO.",
)


class PortAccess(CallDetector):
    rules = (PORT_ACCESS,)
    syscalls = frozenset({"iopl", "ioperm"})
    otherwise = Severity.HIGH

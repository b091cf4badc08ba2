"""Reading or clearing the kernel's log (syslog(2), not syslog(3))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

KERNEL_LOG = Rule(
    id="kernel-log-call",
    title="Kernel log read or changed",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1082", "T1070"),
    why="The log is the host's: it names devices, other containers and, on some kernels, addresses that "
    "an exploit needs.",
    remedy="Set kernel.dmesg_restrict=1 and drop CAP_SYSLOG.",
)


class KernelLog(CallDetector):
    rules = (KERNEL_LOG,)
    syscalls = frozenset({"syslog"})
    otherwise = Severity.LOW

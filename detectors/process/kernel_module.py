"""Loading or removing kernel modules (init_module(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

KERNEL_MODULE = Rule(
    id="kernel-module",
    title="Kernel module loaded or removed",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1547.006", "T1611"),
    why="A module is code in the host's kernel: it ends every isolation. No program of a sandbox has one "
    "to load, so even a refused attempt is an attack.",
    remedy="Stop the sandbox. If the call succeeded, treat the host as taken over. Never give a container "
    "CAP_SYS_MODULE.",
)


class KernelModule(CallDetector):
    rules = (KERNEL_MODULE,)
    syscalls = frozenset({"init_module", "finit_module", "delete_module", "create_module"})
    otherwise = Severity.CRITICAL

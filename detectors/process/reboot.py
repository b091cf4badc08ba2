"""Stopping the machine (reboot(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

REBOOT = Rule(
    id="reboot-requested",
    title="Reboot or power-off requested",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1529",),
    why="reboot(2) stops the host where the sandbox has CAP_SYS_BOOT in the initial namespaces.",
    remedy="Look at the program that called it. A sandbox needs no CAP_SYS_BOOT.",
)


class Reboot(CallDetector):
    rules = (REBOOT,)
    syscalls = frozenset({"reboot"})
    otherwise = Severity.MEDIUM

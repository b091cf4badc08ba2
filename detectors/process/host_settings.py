"""Calls that change the whole host: swap, accounting, the clock, quotas."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

HOST_SETTING = Rule(
    id="host-setting-call",
    title="Setting of the whole host changed",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1611", "T1499"),
    why="These calls are not namespaced: swap, process accounting (which appends to a file of the "
    "caller's choice), the wall clock and quotas are the host's.",
    remedy="Stop the sandbox and undo the change (swapoff, accton off, time synchronisation). Drop "
    "CAP_SYS_ADMIN, CAP_SYS_PACCT and CAP_SYS_TIME.",
)


class HostSettings(CallDetector):
    rules = (HOST_SETTING,)
    syscalls = frozenset(
        {
            "swapon",
            "swapoff",
            "acct",
            "settimeofday",
            "clock_settime",
            "clock_settime64",
            "stime",
            "quotactl",
            "quotactl_fd",
        }
    )
    otherwise = Severity.MEDIUM

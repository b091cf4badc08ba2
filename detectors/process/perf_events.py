"""Performance counters and kernel tracing (perf_event_open(2))."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

PERF_EVENTS = Rule(
    id="perf-event-opened",
    title="Performance event opened",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1068",),
    why="Counters leak other tenants' secrets by timing, attach eBPF programs, and are a frequent source "
    "of kernel bugs.",
    remedy="If the workload is no profiler, stop it. Keep kernel.perf_event_paranoid at 3 or above.",
)


class PerfEvents(CallDetector):
    rules = (PERF_EVENTS,)
    syscalls = frozenset({"perf_event_open"})
    otherwise = Severity.MEDIUM

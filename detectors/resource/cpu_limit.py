"""The CPU limit was reached for long."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, LimitReached
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector

CPU_LIMIT = Rule(
    id="cpu-limit",
    title="The limit of CPU time was reached",
    category=Category.RESOURCE,
    severity=Severity.LOW,
    techniques=("T1496",),
    why="The sandbox is throttled. Compilers and number crunching are too, so this is a trace; together "
    "with a contact to a mining pool it is a miner.",
    remedy="Nothing, if the work is known to be heavy. Otherwise look at the busiest process.",
)


class CpuLimit(Detector):
    rules = (CPU_LIMIT,)
    events = (LimitReached,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, LimitReached) and event.kind == "cpu":
            yield finding(CPU_LIMIT, event, limit=event.limit, used=event.used)

"""Memory bombs: the limit was reached and the kernel had to kill."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, LimitReached
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector

MEMORY_LIMIT = Rule(
    id="memory-limit",
    title="The limit of memory was reached",
    category=Category.RESOURCE,
    severity=Severity.MEDIUM,
    techniques=("T1499",),
    why="The sandbox asked for more memory than it may have. The limit keeps its neighbours alive.",
    remedy="If its work needs as much, raise the limit in its profile; otherwise look at the program.",
)


class MemoryLimit(Detector):
    rules = (MEMORY_LIMIT,)
    events = (LimitReached,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, LimitReached) and event.kind == "memory":
            yield finding(MEMORY_LIMIT, event, limit=event.limit, used=event.used)

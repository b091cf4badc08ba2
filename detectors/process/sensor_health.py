"""The watch itself: what it lost, and when it was blind."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, EventsLost, SensorFailed
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector

LOST = Rule(
    id="events-lost",
    title="Events were lost",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1562.006",),
    why="What was not seen cannot be judged. A flood of events is also a way to hide one.",
    remedy="Find the sandbox that made the flood; look at what ran at that time; raise the ring's size.",
)
FAILED = Rule(
    id="sensor-failed",
    title="A sensor ended",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1562.001",),
    why="While no sensor runs nothing is seen. A sensor that ends by itself may have been ended.",
    remedy="Read the reason; see whether it came back; treat what ran meanwhile as unwatched.",
)


class SensorHealth(Detector):
    rules = (LOST, FAILED)
    events = (EventsLost, SensorFailed)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        del sandbox
        if isinstance(event, EventsLost):
            yield finding(LOST, event, identifier=event.reason, lost=event.count, reason=event.reason)
        elif isinstance(event, SensorFailed):
            yield finding(
                FAILED,
                event,
                identifier=event.sensor,
                sensor=event.sensor,
                reason=event.reason,
                restarted=event.restarted,
            )

"""Processes that came into the sandbox otherwise than by its start: a second entry, or none that was seen."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Enrolled, Event, EventsLost, UnannouncedProcess
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded
from detectors.evidence import program

SECOND_ENTRY = Rule(
    id="second-entry",
    title="Another program was started in the sandbox from outside",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1609",),
    why="A runtime brought in a process after the first. Where the sandbox allows no exec, somebody went "
    "past the daemon, with the engine's or the host's own rights.",
    remedy="Find out who may reach the engine's socket on this host; look at the process in the finding.",
)
UNANNOUNCED = Rule(
    id="unannounced-process",
    title="A process runs in the sandbox that no event announced",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1562.001", "T1014"),
    why="Every fork and exec is reported. A process that was not is one that came past the sensor, or "
    "events were lost.",
    remedy="Look at the process and its parent; see whether events were lost at that time.",
)

STARTED_LIMIT = 4096
LOSS_SPAN_NS = 60_000_000_000


class Entry(Detector):
    rules = (SECOND_ENTRY, UNANNOUNCED)
    events = (Enrolled, UnannouncedProcess, EventsLost)

    def __init__(self) -> None:
        self._started: Bounded[str, None] = Bounded(STARTED_LIMIT)
        self._lost_ns: int | None = None

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, Enrolled):
            yield from self._entered(event, sandbox)
        elif isinstance(event, EventsLost):
            self._lost_ns = event.time_ns
        elif isinstance(event, UnannouncedProcess):
            explained = self._lost_ns is not None and event.time_ns - self._lost_ns <= LOSS_SPAN_NS
            yield finding(
                UNANNOUNCED,
                event,
                severity=Severity.MEDIUM if explained else Severity.HIGH,
                identifier=program(event),
                events_were_lost=explained,
            )

    def forget(self, sandbox: str) -> None:
        self._started.pop(sandbox, None)

    def _entered(self, event: Enrolled, sandbox: Expectation) -> Iterator[Finding]:
        """The first one is the sandbox's own; those that were there before the sensor may be."""
        later = event.sandbox in self._started and not event.already_running
        self._started[event.sandbox] = None
        if later and not sandbox.exec_allowed:
            yield finding(SECOND_ENTRY, event)
        elif later and not sandbox.managed:
            yield finding(SECOND_ENTRY, event, severity=Severity.LOW)

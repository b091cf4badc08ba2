"""The findings that detectors make of recordings, by the pipeline and the ledger of live events."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from daemon.events import Event
from daemon.expectation import Expectation
from daemon.findings import Finding
from daemon.ledger import FindingRecord, Ledger, boot_clock
from daemon.pipeline import Pipeline, named
from daemon.sensors.replay import Forgotten, Missing, Record, Recorded, Started


@dataclass(slots=True)
class Replayed:
    """Of all the files together. `complaints`: file, number of the line, what is wrong with it."""

    findings: list[FindingRecord] = field(default_factory=list)
    events: int = 0
    missing: int = 0
    """Records that the recording itself says are not in it."""
    unjudged: int = 0
    """Events of containers of which no file says what they may be."""
    malformed: int = 0
    complaints: list[tuple[Path, int, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Detectors that raised, and why."""


class Replay:
    """`read` one file after the other, in the order in which they were written; findings have their dates."""

    def __init__(self, detector: str | None = None) -> None:
        """Raises LookupError where there is no `detector` of that name; None is all of them."""
        self.done = Replayed()
        self._clock = boot_clock(0, 0)
        self._ledger = Ledger(self._date)
        if not (detectors := named(detector)):
            raise LookupError(f"no detector has a rule {detector!r}, or that name")
        self._pipeline = Pipeline(detectors, self._found, lambda *told: self.done.failures.append(told))

    def read(self, path: Path) -> None:
        """Raises SensorError where it is no file to read."""
        recorded = Recorded(path)
        try:
            for batch in recorded.batches():
                for record in batch:
                    self._take(record)
        finally:
            recorded.close()
        self.done.malformed += recorded.malformed
        self.done.complaints += [(path, number, wrong) for number, wrong in recorded.complaints]

    def end(self) -> Replayed:
        self.done.events = self._pipeline.events_seen
        self.done.unjudged = self._pipeline.dropped + self._pipeline.held
        self.done.findings = list(self._ledger.since(0))
        return self.done

    def _take(self, record: Record) -> None:
        match record:
            case Event():
                self._pipeline.feed([record])
            case Expectation():
                self._pipeline.expect(record)
            case Forgotten():
                self._pipeline.forget(record.container_id)
            case Missing():
                self.done.missing += record.count
            case Started():
                self._clock = boot_clock(record.realtime_ns, record.monotonic_ns)

    def _found(self, finding: Finding, sandbox: Expectation) -> None:
        self._ledger.add(finding, sandbox)

    def _date(self, time_ns: int) -> datetime:
        """Every sum of numbers that a record may hold is a date."""
        return self._clock(time_ns)

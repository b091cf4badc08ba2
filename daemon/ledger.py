"""Findings by container: told once, counted after that, readable when the container is gone."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from daemon.events import Process, Tier
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Severity
from daemon.plain import ITEMS_LIMIT, TEXT_LIMIT, plain, text

PER_CONTAINER = 500
CONTAINERS = 2_000


class ProcessView(BaseModel):
    pid: int
    ppid: int
    uid: int
    exe: str
    argv: list[str]
    lineage: list[str]

    @classmethod
    def of(cls, process: Process) -> ProcessView:
        return cls(
            pid=process.pid,
            ppid=process.ppid,
            uid=process.uid,
            exe=text(process.exe or process.comm),
            argv=[text(part) for part in process.argv[:ITEMS_LIMIT]],
            lineage=[text(exe) for exe in process.lineage],
        )


class FindingRecord(BaseModel):
    """A finding on the wire; `count` is how often it was seen, from `time` to `last_time`."""

    id: str
    seq: int
    rule_id: str
    title: str
    category: Category
    severity: Severity
    techniques: list[str]
    remedy: str
    time: datetime
    last_time: datetime
    session_id: str | None
    sandbox_id: str | None
    container_id: str
    image: str
    process: ProcessView
    evidence: dict[str, Any]
    count: int = 1
    action: str = Field(
        default="alert",
        description="alert, pause, quarantine, kill, killed in the kernel; with a reason if it failed",
    )
    sensor_tier: Tier
    trace_id: str | None = None
    owner_uid: int | None = Field(default=None, exclude=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of one finding: its record, and whether it is worth telling anew."""

    record: FindingRecord
    news: bool


class Ledger:
    """One container's findings never push out another's: PER_CONTAINER each, of the last CONTAINERS ones."""

    def __init__(self, wall_clock: Callable[[int], datetime]) -> None:
        """`wall_clock` turns an event's time_ns into a date."""
        self._wall_clock = wall_clock
        self._seq = 0
        self._records: OrderedDict[str, deque[FindingRecord]] = OrderedDict()
        self._same: dict[str, dict[tuple[str, str], FindingRecord]] = {}

    def add(self, finding: Finding, sandbox: Expectation) -> Entry:
        """News: the first of its kind, a worse one, and each tenfold of the count."""
        same = self._container(sandbox.container_id)
        key = (finding.rule.id, finding.identifier[:TEXT_LIMIT])
        if (known := same.get(key)) is None:
            return Entry(self._new(finding, sandbox, key), news=True)
        known.count += 1
        known.last_time = self._wall_clock(finding.event.time_ns)
        worse = finding.severity.rank > known.severity.rank
        if worse:
            known.severity = finding.severity
            known.evidence = plain(finding.evidence)
        return Entry(known, news=worse or is_power_of_ten(known.count))

    def of(self, container_id: str) -> list[FindingRecord]:
        return list(self._records.get(container_id, ()))

    def since(self, seq: int) -> Iterator[FindingRecord]:
        """Newer than `seq`, in their order."""
        records = (record for found in self._records.values() for record in found if record.seq > seq)
        return iter(sorted(records, key=lambda record: record.seq))

    def _container(self, container_id: str) -> dict[tuple[str, str], FindingRecord]:
        if container_id not in self._records:
            self._records[container_id] = deque()
            self._same[container_id] = {}
            if len(self._records) > CONTAINERS:
                oldest, _ = self._records.popitem(last=False)
                del self._same[oldest]
        return self._same[container_id]

    def _new(self, finding: Finding, sandbox: Expectation, key: tuple[str, str]) -> FindingRecord:
        self._seq += 1
        record = _record(finding, sandbox, self._seq, self._wall_clock(finding.event.time_ns))
        records, same = self._records[sandbox.container_id], self._same[sandbox.container_id]
        if len(records) >= PER_CONTAINER:
            _drop_mildest(records, same)
        records.append(record)
        same[key] = record
        return record


def _drop_mildest(records: deque[FindingRecord], same: dict[tuple[str, str], FindingRecord]) -> None:
    """The oldest of the lowest severity: noise must not push out an escape."""
    dropped = min(records, key=lambda record: (record.severity.rank, record.seq))
    records.remove(dropped)
    for key in [key for key, record in same.items() if record is dropped]:
        del same[key]


def _record(finding: Finding, sandbox: Expectation, seq: int, time: datetime) -> FindingRecord:
    rule = finding.rule
    return FindingRecord(
        id=secrets.token_hex(16),
        seq=seq,
        rule_id=rule.id,
        title=rule.title,
        category=rule.category,
        severity=finding.severity,
        techniques=list(rule.techniques),
        remedy=rule.remedy,
        time=time,
        last_time=time,
        session_id=sandbox.session_id or None,
        sandbox_id=sandbox.sandbox_id,
        container_id=sandbox.container_id,
        image=sandbox.image,
        process=ProcessView.of(finding.event.process),
        evidence=plain(finding.evidence),
        action="killed in the kernel" if finding.event.killed else "alert",
        sensor_tier=finding.event.tier,
    )


def is_power_of_ten(count: int) -> bool:
    """What happens over and over is told at 1, 10, 100 ..."""
    return str(count).rstrip("0") == "1"


def boot_clock(realtime_ns: int, monotonic_ns: int) -> Callable[[int], datetime]:
    """CLOCK_MONOTONIC to a date, by the two clocks read together."""
    offset_ns = realtime_ns - monotonic_ns

    def date(time_ns: int) -> datetime:
        return datetime.fromtimestamp((time_ns + offset_ns) / 1e9, UTC)

    return date

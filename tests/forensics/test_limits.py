"""How often a container is looked at, and what becomes of a collection that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.audit.record import SecurityAuditEvent
from daemon.events import ProcessForked
from daemon.findings import Severity, finding
from daemon.forensics import collecting as module
from daemon.forensics.collecting import Forensics
from daemon.forensics.store import EvidenceStore
from daemon.ledger import FindingRecord, Ledger, boot_clock
from daemon.pipeline import Pipeline
from daemon.sandbox.engine import Engine
from daemon.sandbox.sandbox import Registry
from tests.events import CONTAINER, event, expectation
from tests.sensors.collecting import eventually
from tests.test_ledger import RULE


class Told(list[SecurityAuditEvent]):
    async def record(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        self.append(event)
        return event


class Made:
    """No engine answers here."""

    def __init__(self, folder: Path) -> None:
        self.store = EvidenceStore(folder / "forensics", 10, 1 << 20)
        self.engine = Engine(folder / "no-engine.sock")
        self.pipeline = Pipeline([], lambda *_: None, lambda *_: None)
        self.ledger = Ledger(boot_clock(0, 0))
        self.told = Told()
        audit: Any = self.told
        self.forensics = Forensics(self.store, self.engine, Registry(1), self.pipeline, self.ledger, audit)

    def record(self, severity: Severity = Severity.HIGH, container: str = CONTAINER) -> FindingRecord:
        of = event(ProcessForked, sandbox=container)
        return self.ledger.add(
            finding(RULE, of, severity=severity, identifier=severity), expectation(container_id=container)
        ).record


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    made = Made(tmp_path)
    running = asyncio.create_task(made.forensics.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await made.engine.close()


async def collected(made: Made, record: FindingRecord) -> SecurityAuditEvent:
    before = len(made.told)
    case = made.forensics.open(record)
    assert case is not None
    made.forensics.begin(case)
    await eventually(lambda: len(made.told) > before and record.container_id not in made.forensics._open)
    return made.told[-1]


async def test_again_only_for_a_worse_one_or_after_a_while(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    high, critical = made.record(), made.record(Severity.CRITICAL)
    assert made.forensics.open(made.record(Severity.MEDIUM)) is None
    await collected(made, high)
    assert made.forensics.open(high) is None
    await collected(made, critical)
    assert made.forensics.open(critical) is None
    monkeypatch.setattr(module, "AGAIN_AFTER_S", 0.0)
    await collected(made, high)
    assert len(made.store.all()) == 3


async def test_what_could_not_be_read_is_named_and_the_rest_is_kept(made: Made) -> None:
    made.pipeline.expect(expectation())
    made.pipeline.feed([event(ProcessForked, time_ns=number) for number in range(200)])
    told = await collected(made, made.record())
    assert (told.action, told.details["events"], told.details["processes"]) == ("recorded", 128, 1)
    (problem,) = told.details["problems"]
    assert "no Docker Engine answers" in problem


async def test_one_at_a_time_for_each_and_many_are_dropped(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUED", 2)
    first, second, third = (made.record(container=digit * 64) for digit in "abc")
    assert made.forensics.open(first)
    assert made.forensics.open(replaced(first)) is None
    assert made.forensics.open(second)
    assert made.forensics.open(third) is None
    assert made.forensics.dropped == 1


def replaced(record: FindingRecord) -> FindingRecord:
    return record.model_copy(update={"severity": Severity.CRITICAL})


async def test_a_collection_that_hangs_is_ended_and_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever waits for it is let go."""
    monkeypatch.setattr(module, "WORKER", replace(module.WORKER, wall_s=0.01))
    told = await collected(made, made.record())
    assert (told.action, told.severity, told.details["sha256"]) == ("failed", "medium", "")
    assert "no file was made: it took more than" in told.details["problems"][-1]
    await made.forensics.settled(CONTAINER)


async def test_none_is_collected_where_none_is_kept(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.forensics.store = EvidenceStore(tmp_path, 0, 0)
    assert made.forensics.open(made.record()) is None
    await made.engine.close()

"""A real Alertmanager lists what the exporter tells it, by its API v2."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon.audit.record import EventType
from daemon.findings import Severity
from tests.exporters.alertmanager import alertmanager
from tests.exporters.checks import wrong
from tests.exporters.hostile import FIELDS, FORGED, hostile
from tests.exporters.running import Child, delivering, event, made, record, running, table, until


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Child]:
    with running(alertmanager(tmp_path)) as child:
        yield child


async def test_an_event_is_an_alert_until_its_end(receiver: Child, tmp_path: Path) -> None:
    sent = event(3)
    async with made("alertmanager", receiver.port, tmp_path, resolve_after_s=600) as exporter:
        await exporter.export([sent])
    ((key, alert),) = receiver.received()
    assert key == sent.id
    assert alert["status"]["state"] in {"active", "unprocessed"}
    assert alert["labels"] == {
        "alertname": "SECURITY_VIOLATION",
        "job": "container-kit",
        "instance": socket.gethostname(),
        "severity": "high",
        "session_id": "session-3",
        "rule": "a-rule",
    }
    left = datetime.fromisoformat(alert["endsAt"]) - datetime.now(UTC)
    assert timedelta(minutes=5) < left < timedelta(minutes=11)
    assert list(wrong("plain", sent, alert["annotations"]["event"].encode())) == []


async def test_it_resolves_by_itself(receiver: Child, tmp_path: Path) -> None:
    async with made("alertmanager", receiver.port, tmp_path, resolve_after_s=0.2) as exporter:
        await exporter.export([event()])
        await until(lambda: receiver.received() == [])


async def test_hostile_text_is_the_value_of_a_label_and_no_more(receiver: Child, tmp_path: Path) -> None:
    kind = EventType.SECURITY_VIOLATION
    sent = [hostile(kind, text, *FIELDS) for text in [*FORGED, 'x",severity="low', "\n- alertname: y"]]
    async with delivering([table("alertmanager", receiver.port, tmp_path)], tmp_path) as (audit, _):
        await record(audit, sent)
        await until(lambda: {key for key, _ in receiver.received()} == {one.id for one in sent})
        logged = {one.id: one for one in await audit.read(0, 100)}
    for key, alert in await asyncio.to_thread(receiver.received):
        assert set(alert["labels"]) == {"alertname", "job", "instance", "severity", "session_id", "rule"}
        assert alert["labels"]["rule"] == logged[key].details["rule_id"]
        assert alert["labels"]["session_id"] == logged[key].session_id
        assert list(wrong("plain", logged[key], alert["annotations"]["event"].encode())) == []


async def test_what_is_not_severe_wakes_nobody(receiver: Child, tmp_path: Path) -> None:
    minor, severe = event().model_copy(update={"severity": Severity.MEDIUM}), event(1)
    async with delivering([table("alertmanager", receiver.port, tmp_path)], tmp_path) as (audit, _):
        await record(audit, [minor, severe])
        await until(lambda: receiver.received() != [])
        assert [key for key, _ in receiver.received()] == [severe.id]

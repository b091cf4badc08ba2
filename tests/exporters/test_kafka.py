"""What Kafka's own clients read of our records, and how it ends when the broker does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka.errors
import pytest
from pydantic import ValidationError

from daemon.errors import ExportError
from exporters import kafka
from tests.exporters.running import Child, broker, event, made, running
from tests.telemetry import certificate

PATIENCE_S = 2


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with running(broker(tmp_path, partitions=3)) as started:
        yield started


async def test_librdkafka_reads_what_was_sent(child: Child, tmp_path: Path) -> None:
    sent = [event(number, text="\0\n\udc80é") for number in range(50)]
    async with made("kafka", child.port, tmp_path) as exporter:
        await exporter.export(sent)
    taken = dict(child.received())
    assert taken.keys() == {one.id for one in sent}
    for one in sent:
        line = taken[one.id]
        assert line["headers"] == {"id": one.id, "type": one.event_type}
        assert line["key"] == line["record"]["session_id"] == one.session_id
        assert line["time_ms"] == int(one.timestamp.timestamp() * 1000)
        assert line["record"]["details"]["text"] == "\0\n?é"


async def test_a_session_keeps_its_order(child: Child, tmp_path: Path) -> None:
    sent = [event(number) for number in range(700)]
    async with made("kafka", child.port, tmp_path) as exporter:
        for start in range(0, len(sent), 100):
            await exporter.export(sent[start : start + 100])
    for session in {one.session_id for one in sent}:
        numbers = [
            line["record"]["details"]["number"] for _, line in child.received() if line["key"] == session
        ]
        assert numbers == [one.details["number"] for one in sent if one.session_id == session]


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Child]:
    """Its certificate, which vouches for itself, is certificate.pem of the folder."""
    own = certificate.made(tmp_path)
    with running(broker(tmp_path, pair=(own.certificate_file, own.key_file))) as started:
        yield started


async def test_a_broker_is_known_by_its_certificate(secure: Child, tmp_path: Path) -> None:
    tls, sent = {"ca_file": tmp_path / "certificate.pem"}, event()
    async with made("kafka", secure.port, tmp_path, tls=tls) as exporter:
        await exporter.export([sent])
    assert [key for key, _ in secure.received()] == [sent.id]


@pytest.mark.parametrize("options", [{"tls": {}}, {}], ids=["false receiver", "in clear"])
async def test_any_other_gets_nothing(
    options: dict[str, Any], secure: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "GIVEN_UP_S", PATIENCE_S)
    async with made("kafka", secure.port, tmp_path, **options) as exporter:
        with pytest.raises(ExportError, match="KafkaConnectionError: ") as raised:
            await exporter.export([event()])
    assert raised.value.retryable
    assert secure.received() == []


async def test_a_broker_that_dies_is_told_of_soon(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the exporter can be closed then, as at the end of the daemon."""
    monkeypatch.setattr(kafka, "GIVEN_UP_S", PATIENCE_S)
    async with made("kafka", child.port, tmp_path) as exporter:
        await exporter.export([event()])
        await asyncio.to_thread(child.kill)
        started_s = time.monotonic()
        with pytest.raises(ExportError, match="Error: ") as raised:
            await exporter.export([event(number) for number in range(500)])
        await exporter.close()
        assert time.monotonic() - started_s < 3 * PATIENCE_S
        assert raised.value.retryable


async def test_nothing_of_it_goes_on_afterwards(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "GIVEN_UP_S", PATIENCE_S)
    before = asyncio.all_tasks()
    async with made("kafka", child.port, tmp_path) as exporter:
        await exporter.export([event()])
        await asyncio.to_thread(child.kill)
        with pytest.raises(ExportError):
            await exporter.export([event()])
    assert asyncio.all_tasks() == before


def test_what_is_a_refusal_is_known_to_the_library() -> None:
    for name in kafka.ABOUT_THE_EVENT:
        assert not getattr(aiokafka.errors, name).retriable


def test_a_name_that_would_not_be_compared_is_refused() -> None:
    table = {"name": "k", "kind": "kafka", "servers": ["h:9093"], "topic": "t", "tls": {"server_name": "x"}}
    with pytest.raises(ValidationError, match="server_name"):
        kafka.KafkaOptions.model_validate(table)

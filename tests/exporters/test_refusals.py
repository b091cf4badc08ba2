"""What a receiver refuses for good is set aside, with the receiver's reason; all else arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporters.running import (
    Child,
    broker,
    delivering,
    event,
    http_receiver,
    record,
    running,
    table,
    until,
)

POISON = "a field of the wrong type"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("receiver")
    (folder / "received.refuse").write_text(POISON)
    with running(http_receiver(folder)) as child:
        yield child


@pytest.fixture
def refusing_broker(tmp_path: Path) -> Iterator[Child]:
    (tmp_path / "received.refuse").write_text(POISON)
    with running(broker(tmp_path, partitions=3)) as child:
        yield child


@pytest.mark.parametrize("kind", ["webhook", "otlp", "hec", "elastic", "loki"])
async def test_all_but_the_refused_arrive(kind: str, receiver: Child, tmp_path: Path) -> None:
    await _check_refusals(kind, receiver, tmp_path)


async def test_all_but_the_refused_are_in_the_topic(refusing_broker: Child, tmp_path: Path) -> None:
    await _check_refusals("kafka", refusing_broker, tmp_path)


async def _check_refusals(kind: str, receiver: Child, folder: Path) -> None:
    sent = [event(number, text=POISON if number in {3, 4, 11} else "") for number in range(12)]
    async with delivering([table(kind, receiver.port, folder)], folder) as (audit, deliveries):
        (delivery,) = deliveries.all
        await record(audit, sent)
        await until(lambda: delivery.lag_events == 0)
        assert (delivery.state.refused, delivery.state.problem) == (3, "")
    found = {key for key, _ in receiver.received()} & {one.id for one in sent}
    notes = folder / "exporters" / kind / "dead-letters.jsonl"
    refused = [json.loads(line) for line in notes.read_text().splitlines()]
    assert [note["event"]["details"]["number"] for note in refused] == [3, 4, 11]
    assert all(note["reason"] for note in refused)
    assert found == {one.id for one in sent if one.details["text"] != POISON}

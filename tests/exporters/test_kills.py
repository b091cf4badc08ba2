"""The receiver is killed with SIGKILL while events flow: none may be missing from it. All of it, at full
size: `python -m tests.benchmarks.delivery`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporters.running import broker, http_receiver, kill_and_count, nats, nats_stream, rsyslog, running

EVENTS, KILLS = 2000, 2


@pytest.mark.parametrize("kind", ["webhook", "otlp", "hec", "elastic", "loki"])
async def test_every_event_arrives_over_http(kind: str, tmp_path: Path) -> None:
    with running(http_receiver(tmp_path)) as child:
        result = await kill_and_count(kind, child, tmp_path, EVENTS, KILLS)
    assert (result["missing"], result["missing_in_log"]) == (0, 0)
    assert result["received"] >= EVENTS


async def test_every_event_is_in_the_stream(tmp_path: Path) -> None:
    child = nats(tmp_path)
    with running(child):
        await nats_stream(child.port)
        result = await kill_and_count("nats", child, tmp_path, EVENTS, KILLS)
    assert (result["missing"], result["duplicates"], result["missing_in_log"]) == (0, 0, 0)


async def test_every_event_is_in_its_session_s_partition(tmp_path: Path) -> None:
    with running(broker(tmp_path, partitions=3)) as child:
        result = await kill_and_count("kafka", child, tmp_path, EVENTS, KILLS)
    assert (result["missing"], result["missing_in_log"]) == (0, 0)
    assert result["received"] >= EVENTS
    taken = [line for _, line in child.received()]
    assert {line["record"]["session_id"] for line in taken} == {f"session-{number}" for number in range(7)}
    assert all(line["key"] == line["record"]["session_id"] for line in taken)
    assert len({(line["key"], line["partition"]) for line in taken}) == 7


async def test_over_tcp_the_last_ones_are_sent_again(tmp_path: Path) -> None:
    with running(rsyslog(tmp_path)) as child:
        result = await kill_and_count("syslog", child, tmp_path, EVENTS, KILLS)
    assert (result["missing"], result["missing_in_log"]) == (0, 0)

"""Syslog over TCP: when a batch counts as taken."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from daemon.errors import ExportError
from exporters import syslog
from tests.exporters.running import delivering, event, made, record, rsyslog, running, table, until


async def test_what_the_other_host_has_not_confirmed_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffer is full, ours is not: who counts what could be written would believe all of it sent."""
    monkeypatch.setattr(syslog, "SEND_DEADLINE_S", 1.0)
    with socket.socket() as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        receiver.listen()
        async with made("syslog", receiver.getsockname()[1], tmp_path) as exporter:
            with pytest.raises(ExportError, match="no answer in time"):
                await exporter.export([event(number) for number in range(500)])


async def test_a_receiver_that_dies_while_nothing_happens_gets_the_last_ones_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not have read them, and the next event may be hours away."""
    monkeypatch.setattr("daemon.delivery.deliveries.LOOK_S", 0.1)
    sent = [event(number) for number in range(20)]
    with running(rsyslog(tmp_path)) as child:
        async with delivering([table("syslog", child.port, tmp_path)], tmp_path) as (audit, _):
            await record(audit, sent)
            await until(lambda: len(child.received()) == len(sent))
            child.kill()
            (tmp_path / "rsyslog.jsonl").unlink()
            child.start()
            await until(lambda: {one.id for one in sent} <= {key for key, _ in child.received()})


async def test_a_hang_up_between_two_batches_is_noticed(tmp_path: Path) -> None:
    connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: connections.put_nowait(writer), "127.0.0.1", 0)
    async with server, made("syslog", server.sockets[0].getsockname()[1], tmp_path) as exporter:
        await exporter.export([event()])
        (await connections.get()).close()
        with pytest.raises(ExportError, match=r"closed|reset|[Bb]roke"):
            await exporter.export([event()])
        await exporter.export([event()])
        (await connections.get()).close()

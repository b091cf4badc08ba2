"""Syslog over TCP: when a batch counts as taken."""

from __future__ import annotations

import asyncio
import os
import signal
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
    monkeypatch.setattr(syslog, "SEND_DEADLINE_S", 0.5)
    with socket.socket() as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        receiver.listen()
        async with made("syslog", receiver.getsockname()[1], tmp_path) as exporter:
            with pytest.raises(ExportError, match="no answer in time"):
                await exporter.export([event(number) for number in range(500)])


@pytest.mark.parametrize(("resend", "lost"), [(2000, 0), (10, 40)])
async def test_lost_is_what_was_unread_beyond_the_last_ones(
    resend: int, lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver dies with fifty events in its socket, and nothing happens that would show it."""
    monkeypatch.setattr("daemon.delivery.deliveries.LOOK_S", 0.1)
    options = {"resend_events": resend, "minimum_severity": "high", "event_types": ["SECURITY_VIOLATION"]}
    before, unread = [event(0)], [event(number) for number in range(50)]
    with running(rsyslog(tmp_path)) as child:
        settings = {**table("syslog", child.port, tmp_path), **options}
        async with delivering([settings], tmp_path) as (audit, deliveries):
            await record(audit, before)
            await until(lambda: len(child.received()) == 1)
            assert child.process
            child.process.send_signal(signal.SIGSTOP)
            os.waitpid(child.process.pid, os.WUNTRACED)  # returns when all of its threads have stopped
            await record(audit, unread)
            await until(lambda: deliveries.all[0].lag_events == 0)
            child.kill()
            child.start()
            await until(lambda: unread[-1].id in {key for key, _ in child.received()})
    missing = {one.id for one in unread} - {key for key, _ in child.received()}
    assert missing == {one.id for one in unread[:lost]}


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

"""Syslog over TCP: when a batch counts as taken. Over datagrams: what of it arrives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ExportError
from exporters import Exporter, syslog
from tests.exporters.running import (
    Child,
    delivering,
    event,
    made,
    record,
    rsyslog,
    running,
    table,
    until,
)
from tests.ports import free_port


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


class _Breaking:
    """Reads a byte of its first connection and breaks it at `end`; takes all of the next."""

    def __init__(self) -> None:
        self.begun, self.end = asyncio.Event(), asyncio.Event()
        self.taken, self._writers = bytearray(), list[asyncio.StreamWriter]()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self.begun.is_set():
            while data := await reader.read(1 << 16):
                self.taken += data
        elif await reader.read(1):
            self.begun.set()
            await self.end.wait()
        writer.transport.abort()

    async def close(self) -> None:
        self.end.set()
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    def ids(self) -> list[str]:
        """Of octet-counted messages, each whole (RFC 6587)."""
        found, data = [], bytes(self.taken)
        while data:
            size, _, data = data.partition(b" ")
            message, data = data[: int(size)], data[int(size) :]
            found.append(json.loads(message[message.index(b"{") :])["id"])
        return found


@pytest.fixture
async def breaking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[_Breaking, Exporter]]:
    monkeypatch.setattr(syslog, "CLOSED_SOON_S", 0.02)  # it does not break at once
    receiver = _Breaking()
    async with await asyncio.start_server(receiver.accept, "127.0.0.1", 0) as server:
        async with made("syslog", server.sockets[0].getsockname()[1], tmp_path) as exporter:
            yield receiver, exporter
        await receiver.close()


LARGE_BATCH = [event(number, text="x" * 30_000) for number in range(500)]
"""More than the buffers of both sides hold."""


async def test_what_broke_in_the_middle_comes_again_whole(breaking: tuple[_Breaking, Exporter]) -> None:
    receiver, exporter = breaking
    receiver.end.set()
    with pytest.raises(ExportError, match=r"closed|reset|[Bb]roke") as raised:
        await exporter.export(LARGE_BATCH)
    assert raised.value.retryable
    await exporter.export(LARGE_BATCH)
    await until(lambda: len(receiver.taken) > 500 * 30_000)
    assert receiver.ids() == [one.id for one in LARGE_BATCH]


async def test_half_a_batch_that_was_given_up_on_is_no_beginning_of_the_next(
    breaking: tuple[_Breaking, Exporter],
) -> None:
    receiver, exporter = breaking
    under_way = asyncio.create_task(exporter.export(LARGE_BATCH))
    await receiver.begun.wait()
    under_way.cancel()
    with suppress(asyncio.CancelledError):
        await under_way
    await exporter.export(LARGE_BATCH[:1])
    await until(lambda: receiver.ids() == [LARGE_BATCH[0].id])


@pytest.fixture
def datagrams(tmp_path: Path) -> Iterator[tuple[int, Child]]:
    """An rsyslog that takes them at that port."""
    port = free_port()
    also = f'module(load="imudp") input(type="imudp" address="127.0.0.1" port="{port}")'
    with running(rsyslog(tmp_path, actions=also)) as child:
        yield port, child


async def test_rsyslog_reads_each_datagram(datagrams: tuple[int, Child], tmp_path: Path) -> None:
    port, child = datagrams
    sent = [event(number, text="\n<13>1 - - - - -") for number in range(50)]
    async with made("syslog", port, tmp_path, transport="udp") as exporter:
        await exporter.export(sent)
    await until(lambda: len(child.received()) == 50)
    assert {key for key, _ in child.received()} == {one.id for one in sent}


async def test_what_no_datagram_holds_goes_without_its_details(
    datagrams: tuple[int, Child], tmp_path: Path
) -> None:
    port, child = datagrams
    async with made("syslog", port, tmp_path, transport="udp", maximum_bytes=1 << 20) as exporter:
        await exporter.export([large := event(text="x" * 70_000)])
    await until(lambda: child.received() != [])
    ((key, taken),) = child.received()
    assert key == large.id
    assert taken["details"]["cut_bytes"] > 70_000


async def test_what_a_socket_s_buffer_does_not_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    options = {"transport": "unix", "path": str(path), "maximum_bytes": 1 << 20}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        async with made("syslog", 514, tmp_path, **options) as exporter:
            with pytest.raises(ExportError, match="Message too long") as raised:
                await exporter.export([event(text="x" * 1_000_000)])
    assert not raised.value.retryable


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"transport": "udp", "host": "nowhere.invalid"}, r"udp nowhere\.invalid:514: "),
        ({"transport": "unix", "path": "/nowhere/log"}, "/nowhere/log: No such file"),
    ],
)
async def test_a_receiver_that_is_nowhere_is_told(
    place: dict[str, Any], message: str, tmp_path: Path
) -> None:
    async with made("syslog", 514, tmp_path, **place) as exporter:
        with pytest.raises(ExportError, match=message) as raised:
            await exporter.export([event()])
    assert raised.value.retryable

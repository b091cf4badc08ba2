"""Hijacked connections of the Engine API: terminals and exec, with their frames taken apart.

Spoken to the socket directly: the SDK's way needs a thread for each stream, and 200 sandboxes have 200.
Frame format: 8 bytes, the first 1 (stdout) or 2 (stderr), the last four the length, big-endian
(Engine API, "Attach to a container"). With a terminal there are no frames: all of it is stdout.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.errors import EngineError, EngineUnavailable
from daemon.sandbox.stream import Channel, Output, go_on

CHUNK_BYTES = 64 * 1024
HEADER_LIMIT_BYTES = 64 * 1024


class Hijacked:
    """A Stream over one open connection to a process of a container."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._tty = tty
        self._header = b""
        self.hold: Callable[[], Awaitable[None]] = go_on

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end_input(self) -> None:
        with suppress(OSError):  # ENOTCONN, which is no ConnectionError: the engine was faster
            self._writer.write_eof()

    async def read(self) -> Output | None:
        """The next piece, None at the end. Cancelled, it loses nothing."""
        if self._tty:
            data = await self._reader.read(CHUNK_BYTES)
            return Output(Channel.STDOUT, data) if data else None
        return await self._frame()

    async def _frame(self) -> Output | None:
        try:
            self._header = self._header or await self._reader.readexactly(8)
            data = await self._reader.readexactly(int.from_bytes(self._header[4:8], "big"))
        except asyncio.IncompleteReadError:
            return None
        header, self._header = self._header, b""
        return Output(Channel.STDERR if header[0] == Channel.STDERR else Channel.STDOUT, data)

    async def outputs(self) -> AsyncIterator[Output]:
        while (output := await self.read()) is not None:
            yield output
            await self.hold()

    async def close(self) -> None:
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, BrokenPipeError):
            return


async def hijack(socket: Path, path: str, body: dict[str, Any] | None = None, *, tty: bool) -> Hijacked:
    """POST `path` and take the connection over. Raises EngineError with the engine's own words."""
    reader, writer = await _dial(socket)
    payload = b"" if body is None else json.dumps(body).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
        + payload
    )
    stream = Hijacked(reader, writer, tty=tty)
    try:
        status, head = await _response_head(reader)
        if status not in {101, 200}:
            raise EngineError(await _refusal(reader, head), status)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        await stream.close()
        raise EngineError(f"the Docker Engine broke off its answer to {path.partition('?')[0]}") from error
    except BaseException:
        await stream.close()
        raise
    return stream


async def _dial(socket: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(str(socket), limit=HEADER_LIMIT_BYTES)
    except OSError as error:
        raise EngineUnavailable(
            f"no Docker Engine answers on {socket}: {error.strerror}; start it"
        ) from error


async def _response_head(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    return int(head[9:12]), head


async def _refusal(reader: asyncio.StreamReader, head: str) -> str:
    text = (await reader.read(4096)).decode(errors="replace")
    start = text.find("{")
    try:
        return str(json.loads(text[start:])["message"])
    except (ValueError, KeyError, TypeError):
        return head.split("\r\n", 1)[0]

"""A gate before a receiver that can be shut, opened again and held up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.ports import free_port


class Gate:
    """Passes bytes between `port` and the receiver at `beyond`. Ends with `shut`."""

    def __init__(self, beyond: int) -> None:
        self.port, self._beyond = free_port(), beyond
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """Who comes is refused, and who is inside is thrown out."""
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    def hold(self) -> None:
        """Connections are accepted, and nothing gets through."""
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._between(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._beyond)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, far_writer))
                tasks.create_task(self._pass_on(far_reader, writer))
        except* (OSError, EOFError):
            pass
        finally:
            far_writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError  # one side's end is both sides' end

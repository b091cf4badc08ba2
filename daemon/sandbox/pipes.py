"""The pipes of a sandbox's program, opened through its first process: what it writes never passes the engine.

A flood of output costs the engine nothing, and a daemon that follows one that died finds what was written
meanwhile: up to the size of a pipe (pipe(7)), then the program waits.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from daemon.sandbox import init
from daemon.sandbox.stream import Channel, Output, go_on

CHUNK_BYTES = 64 * 1024


class Pipes:
    """A Stream. Its descriptors are its own: nothing that the program does to its ends changes them."""

    def __init__(self, pid: int) -> None:
        """Of our init, which must be ready. Raises OSError: it has ended.

        The input of one that has had its go has ended.
        """
        self.hold: Callable[[], Awaitable[None]] = go_on
        self._loop = asyncio.get_running_loop()
        self._writing, self._writable = asyncio.Lock(), asyncio.Event()
        self._readable = asyncio.Event()
        self._pending: deque[Output] = deque()
        self._input = -1
        self._unread: dict[int, Channel] = {}
        try:
            self._unread[_open(pid, init.OUTPUT_FD, os.O_RDONLY)] = Channel.STDOUT
            self._unread[_open(pid, init.ERRORS_FD, os.O_RDONLY)] = Channel.STDERR
            with suppress(FileNotFoundError):
                self._input = _open(pid, init.INPUT_FD, os.O_WRONLY)
        except BaseException:
            self._close()
            raise

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        async with self._writing:
            while left:
                if (count := self._put(left)) == 0:
                    await self._room()
                left = left[count:]

    def _put(self, data: memoryview) -> int:
        if self._input < 0:
            raise BrokenPipeError("its input has ended")
        try:
            return os.write(self._input, data)
        except BlockingIOError:
            return 0

    async def _room(self) -> None:
        self._writable.clear()
        self._loop.add_writer(self._input, self._writable.set)
        try:
            await self._writable.wait()
        finally:
            if self._input >= 0:
                self._loop.remove_writer(self._input)

    def end_input(self) -> None:
        descriptor, self._input = self._input, -1
        if descriptor >= 0:
            self._loop.remove_writer(descriptor)
            os.close(descriptor)
            self._writable.set()

    async def outputs(self) -> AsyncIterator[Output]:
        while True:
            while self._pending:
                yield self._pending.popleft()
                await self.hold()
            if not self._unread:
                return
            await self._more()

    async def _more(self) -> None:
        """Only who waits reads: a pipe that is left full holds the program up."""
        self._readable.clear()
        for descriptor in self._unread:
            self._loop.add_reader(descriptor, self._read, descriptor)
        try:
            await self._readable.wait()
        finally:
            for descriptor in self._unread:
                self._loop.remove_reader(descriptor)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            self._pending.append(Output(self._unread[descriptor], data))
        else:
            self._drop(descriptor)
        self._readable.set()

    def _drop(self, descriptor: int) -> None:
        del self._unread[descriptor]
        self._loop.remove_reader(descriptor)
        os.close(descriptor)

    async def close(self) -> None:
        self._close()

    def _close(self) -> None:
        self.end_input()
        for descriptor in list(self._unread):
            self._drop(descriptor)
        self._readable.set()


def _open(pid: int, number: int, mode: int) -> int:
    return os.open(f"/proc/{pid}/fd/{number}", mode | os.O_NONBLOCK | os.O_CLOEXEC)

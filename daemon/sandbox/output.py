"""What the program wrote: kept in order up to a limit for each stream, the rest counted and thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from daemon.sandbox.stream import Channel, Output


class OutputLog:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: list[Output] = []
        self._kept_bytes = dict.fromkeys(Channel, 0)
        self._news = asyncio.Event()
        self._ended = False
        self.written_bytes = dict.fromkeys(Channel, 0)

    def append(self, output: Output) -> bool:
        """False when some of it went over the limit."""
        room = self._limit_bytes - self._kept_bytes[output.channel]
        data = output.data[:room]
        self.written_bytes[output.channel] += len(output.data)
        if data:
            self._kept_bytes[output.channel] += len(data)
            self._kept.append(Output(output.channel, data))
            self._wake()
        return len(data) == len(output.data)

    def end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def truncated(self, channel: Channel) -> bool:
        return self.written_bytes[channel] > self._kept_bytes[channel]

    def of(self, channel: Channel) -> bytes:
        return b"".join(output.data for output in self._kept if output.channel is channel)

    async def read(self, *, follow: bool) -> AsyncIterator[Output]:
        """From the start; with `follow` until the program has ended."""
        position = 0
        while True:
            news, ended = self._news, self._ended
            while position < len(self._kept):
                position += 1
                yield self._kept[position - 1]
            if ended or not follow:
                return
            await news.wait()

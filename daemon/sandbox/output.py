"""What the program wrote: kept in order up to a limit for each stream, the rest counted and thrown away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from daemon.sandbox.stream import Channel, Output

LAG_LIMIT_BYTES = 256 << 10
PATIENCE_S = 5.0


class TooSlow(Exception):
    """A live reader took nothing for PATIENCE_S: the program is no longer held up for it."""


class OutputLog:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: list[Output] = []
        self._kept_bytes = dict.fromkeys(Channel, 0)
        self._live: list[_Backlog] = []
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
        for backlog in self._live:
            backlog.add(output)
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

    def dropped_bytes(self) -> dict[Channel, int]:
        """Of the channels of which some was."""
        return {
            channel: self.written_bytes[channel] - self._kept_bytes[channel]
            for channel in Channel
            if self.truncated(channel)
        }

    def of(self, channel: Channel) -> bytes:
        return b"".join(output.data for output in self._kept if output.channel is channel)

    async def read(self, *, follow: bool) -> AsyncIterator[Output]:
        """What is kept, from the start; with `follow` until the program has ended."""
        position = 0
        while True:
            news, ended = self._news, self._ended
            while position < len(self._kept):
                position += 1
                yield self._kept[position - 1]
            if ended or not follow:
                return
            await news.wait()

    async def live(self) -> AsyncIterator[Output]:
        """What is kept, and then all that is written, kept or not, until the end. Raises TooSlow."""
        backlog = _Backlog(self._kept)
        self._live.append(backlog)
        try:
            while True:
                news, ended = self._news, self._ended
                while (output := backlog.take()) is not None:
                    yield output
                if ended:
                    return
                await news.wait()
        finally:
            self._live.remove(backlog)
            backlog.give_up()

    async def caught_up(self, ended: Callable[[], bool]) -> None:
        """Once no live reader is more than LAG_LIMIT_BYTES behind, or the program has ended."""
        for backlog in list(self._live):
            await backlog.caught_up(ended)


class _Backlog:
    """What one live reader has still to read; only what came since it began counts as its lag."""

    def __init__(self, kept: list[Output]) -> None:
        self._kept = deque(kept)
        self._new: deque[Output] = deque()
        self._lag_bytes = 0
        self._taken = asyncio.Event()
        self._given_up = False

    def add(self, output: Output) -> None:
        if not self._given_up:
            self._new.append(output)
            self._lag_bytes += len(output.data)

    def take(self) -> Output | None:
        if self._given_up:
            raise TooSlow(f"nothing of the output was read for {PATIENCE_S:g} s: attach again")
        if self._kept:
            return self._kept.popleft()
        if not self._new:
            return None
        output = self._new.popleft()
        self._lag_bytes -= len(output.data)
        self._taken.set()
        return output

    def give_up(self) -> None:
        self._given_up = True
        self._new.clear()
        self._lag_bytes = 0
        self._taken.set()

    async def caught_up(self, ended: Callable[[], bool]) -> None:
        while self._lag_bytes > LAG_LIMIT_BYTES and not ended():
            self._taken.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._taken.wait()
            except TimeoutError:
                self.give_up()

"""From a reader that the event loop calls to the iteration of a sensor's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from daemon.errors import SensorError
from daemon.events import Event

LIMIT = 65_536
"""Events that wait at most; a consumer that falls this far behind loses what comes after, counted."""


class Batches:
    """For one iterator, and the thread of the loop alone."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._waiting: list[Event] = []
        self._news = asyncio.Event()
        self._closed = False
        self._failure: SensorError | None = None

    def put(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._closed or len(self._waiting) >= self._limit:
                self.dropped += 1
            else:
                self._waiting.append(event)
        if self._waiting:
            self._news.set()

    def close(self) -> None:
        """What waits is still given out, then the iteration ends."""
        self._closed = True
        self._news.set()

    def fail(self, error: SensorError) -> None:
        """As `close`, and the iteration raises it at its end."""
        self._failure = self._failure or error
        self.close()

    async def iterate(self) -> AsyncIterator[list[Event]]:
        """Raises SensorError if the sensor failed."""
        while True:
            await self._news.wait()
            batch, self._waiting = self._waiting, []
            if not self._closed:
                self._news.clear()
            if batch:
                yield batch
            elif self._failure is not None:
                raise self._failure
            elif self._closed:
                return

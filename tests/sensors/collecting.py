"""What a sensor reports while a test does something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from daemon.events import Event
from daemon.sensors import Sensor

DEADLINE_S = 20.0
E = TypeVar("E", bound=Event)


class Events(list[Event]):
    def of(self, kind: type[E], sandbox: str | None = None) -> list[E]:
        return [e for e in self if isinstance(e, kind) and sandbox in (None, e.sandbox)]


@asynccontextmanager
async def collecting(sensor: Sensor) -> AsyncIterator[Events]:
    """All so far; the sensor is closed at the end."""
    found = Events()

    async def collect() -> None:
        async for batch in sensor.events():
            assert batch
            found.extend(batch)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect())
        try:
            yield found
        finally:
            await sensor.close()


async def eventually(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        await asyncio.sleep(0.01)

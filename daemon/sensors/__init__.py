"""Sensors: each turns what the kernel tells into events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from daemon.events import Event, Tier


class Sensor(Protocol):
    """Iterate it until it ends or is closed. Opening it raises SensorError where the host lacks it."""

    @property
    def tier(self) -> Tier: ...

    @property
    def lost(self) -> dict[str, int]:
        """Events that the kernel or the sensor had to drop so far, by reason."""

    def events(self) -> AsyncIterator[list[Event]]:
        """Batches in the order of the kernel, never empty; alerts come before bulk that is older."""

    async def close(self) -> None: ...

"""When recurring work is due: at common moments, as waking a process that rests costs more than the work."""

from __future__ import annotations

import asyncio
import time

SHORTEST_S = 0.5
EARLY_S = 0.001
"""By which a timer may be early: it is not due again then."""


def until_tick_s(interval_s: float, now_s: float) -> float:
    """Until the next multiple of the interval; one below SHORTEST_S is waited for as it is.

    `now_s` is of CLOCK_MONOTONIC. The wait is at most EARLY_S longer than the interval. Of two intervals of
    which one is a multiple of the other, the ends of the longer are ends of the shorter, too.
    """
    return interval_s if interval_s < SHORTEST_S else interval_s - (now_s + EARLY_S) % interval_s + EARLY_S


async def tick(interval_s: float) -> None:
    """Returns at the next multiple of the interval."""
    await asyncio.sleep(until_tick_s(interval_s, time.monotonic()))

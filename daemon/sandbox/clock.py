"""How long each phase of a sandbox took, and when its samples are due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

TOGETHER_S = 0.5


@contextmanager
def timed(durations_ms: dict[str, float], phase: str) -> Iterator[None]:
    start_s = time.perf_counter()
    try:
        yield
    finally:
        durations_ms[phase] = (time.perf_counter() - start_s) * 1000


def together_s(interval_s: float, now_s: float) -> float:
    """A little longer, so that all who wait long wake at once: to wake costs more than to take a sample."""
    return interval_s if interval_s < TOGETHER_S else interval_s + -(now_s + interval_s) % TOGETHER_S

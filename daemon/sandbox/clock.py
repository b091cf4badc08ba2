"""How long each phase of a sandbox took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(durations_ms: dict[str, float], phase: str) -> Iterator[None]:
    start_s = time.perf_counter()
    try:
        yield
    finally:
        durations_ms[phase] = (time.perf_counter() - start_s) * 1000

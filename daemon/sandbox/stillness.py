"""Sandboxes in which nothing runs: one counter is read for all, that of the cgroup that they are in."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from daemon.ticks import until_tick_s

SOONEST_S, LATEST_S = 2.0, 30.0
"""Until the next reading: after each that finds it still, twice as long as before."""


class Stillness:
    def __init__(self, soonest_s: float = SOONEST_S, latest_s: float = LATEST_S) -> None:
        self._soonest_s, self._latest_s = soonest_s, latest_s
        self._counters: dict[Path, _Counter] = {}
        """One, as the daemon has one cgroup for all its sandboxes."""

    async def over(self, file: Path) -> None:
        """Returns once anything has run since the call, and now and then without reason.

        `file` reads differently whenever anything has run: see Cgroup.shared_cpu_time.
        """
        if file not in self._counters:
            self._counters[file] = _Counter(file, self._soonest_s, self._latest_s)
        await self._counters[file].changed()

    def may_be_over(self) -> None:
        """Somebody saw something run: whoever it was, it is looked for soon."""
        for counter in self._counters.values():
            counter.read_soon()


class _Counter:
    """Read while somebody waits."""

    def __init__(self, file: Path, soonest_s: float, latest_s: float) -> None:
        self._file, self._soonest_s, self._latest_s = file, soonest_s, latest_s
        self._rest_s = soonest_s
        self._last: bytes | None = None
        """As it was before those who wait looked at their own; not known at first."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def changed(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        if self._timer is None:
            self._arm()
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _arm(self) -> None:
        wait_s = until_tick_s(self._rest_s, time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = _content(self._file)
        if now != self._last or now is None:
            self._last, self._rest_s = now, self._soonest_s
            self._wake()
        else:
            self._rest_s = min(self._rest_s * 2, self._latest_s)
            if self._waiting:
                self._arm()

    def read_soon(self) -> None:
        if self._timer is not None and self._rest_s > self._soonest_s:
            self._timer.cancel()
            self._rest_s = self._soonest_s
            self._arm()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


def _content(file: Path) -> bytes | None:
    """None where it cannot be read: who waits finds out what is the matter."""
    try:
        return file.read_bytes()
    except OSError:
        return None

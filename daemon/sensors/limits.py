"""Limits that containers hit which the daemon did not launch, by sampling the counters of their cgroups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from daemon.errors import SensorError
from daemon.events import Event, LimitReached, Process, Tier
from daemon.sandbox.cgroup import Cgroup, CgroupGone
from daemon.sandbox.resources import Exceeded, Progress
from daemon.ticks import until_tick_s

INTERVAL_S = 0.5
IDLE_INTERVALS = 16
"""After so many at most one in which nothing ran is looked at again; each rest is twice the one before."""


def limit_reached(container: str, pid: int, hit: Exceeded) -> LimitReached:
    """By the counters of the container's cgroup; `pid` is one of its processes, 0 where none is known."""
    return LimitReached(
        time_ns=time.monotonic_ns(),
        sandbox=container,
        process=Process(pid=pid),
        tier=Tier.CGROUP,
        kind=str(hit.kind),
        limit=hit.limit,
        used=hit.used,
    )


class LimitsSensor:
    """What is counted before a container is watched is not reported; each sample reports what it added."""

    tier = Tier.CGROUP

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._watched: dict[str, _Counters] = {}
        self._unreadable = 0
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def lost(self) -> dict[str, int]:
        """unreadable: samples that the kernel refused."""
        return {"unreadable": self._unreadable}

    def watch(self, container: str, pid: int) -> bool:
        """By a process in it. False if it has ended; raises SensorError if its counters cannot be read."""
        self.forget(container)
        try:
            self._watched[container] = counters = _Counters(pid)
        except CgroupGone:
            return False
        except (LookupError, OSError) as error:
            raise SensorError(f"cgroup of container {container}: {error}") from error
        counters.rest(self._interval_s)
        self._wake.set()
        return True

    def forget(self, container: str) -> None:
        """Those that end are forgotten anyway."""
        if counters := self._watched.pop(container, None):
            counters.cgroup.close()

    def look(self) -> None:
        """At once instead of when it is due, and at all of them."""
        for counters in self._watched.values():
            counters.due_s = 0
        self._wake.set()

    async def events(self) -> AsyncIterator[list[Event]]:
        while not self._closed:
            for container in self._busy():
                if batch := list(self._sample(container)):
                    yield batch
                await asyncio.sleep(0)  # others' turn: a sample is some ten reads
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_s()):
                    await self._wake.wait()
            if not self._closed:
                self._wake.clear()

    async def close(self) -> None:
        self._closed = True
        self._wake.set()
        for container in list(self._watched):
            self.forget(container)

    def _rest_s(self) -> float | None:
        """None: until one is watched."""
        due_s = min((counters.due_s for counters in self._watched.values()), default=None)
        return None if due_s is None else max(0, due_s - time.monotonic())

    def _busy(self) -> list[str]:
        """Those in which anything ran since their last sample: of the others nothing can have changed."""
        now_s = time.monotonic()
        due = [container for container, counters in self._watched.items() if counters.due_s <= now_s]
        return [container for container in due if self._ran(self._watched[container])]

    def _ran(self, counters: _Counters) -> bool:
        try:
            ran = counters.ran()
        except (CgroupGone, OSError):
            ran = True  # its sample says so
        longest_s = self._interval_s * IDLE_INTERVALS
        counters.rest(self._interval_s if ran else min(counters.interval_s * 2, longest_s))
        return ran

    def _sample(self, container: str) -> Iterator[Event]:
        counters = self._watched.get(container)
        if counters is None:
            return
        try:
            for hit in counters.hits():
                yield limit_reached(container, counters.pid, hit)
        except CgroupGone:
            self.forget(container)
        except OSError:
            self._unreadable += 1


class _Counters:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.cgroup = Cgroup.of_pid(pid)
        self._last = self.cgroup.usage()
        self._progress = Progress(self._last)
        self.interval_s = self.due_s = 0.0

    def rest(self, interval_s: float) -> None:
        now_s = time.monotonic()
        self.interval_s, self.due_s = interval_s, now_s + until_tick_s(interval_s, now_s)

    def ran(self) -> bool:
        """Since the last sample. Raises CgroupGone."""
        return self.cgroup.cpu_ns() != self._last.cpu_ns

    def hits(self) -> list[Exceeded]:
        """Raises CgroupGone."""
        self._last = self.cgroup.usage()
        return self._progress.exceeded(self._last, self.cgroup.limits())

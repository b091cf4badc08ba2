"""Limits that containers hit which the daemon did not launch, by sampling the counters of their cgroups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from daemon.errors import SensorError
from daemon.events import Event, LimitReached, Process, Tier
from daemon.sandbox.cgroup import Cgroup, CgroupGone
from daemon.sandbox.clock import together_s
from daemon.sandbox.resources import Exceeded, Progress

INTERVAL_S = 0.5
IDLE_LOOKS = 4
"""One in which nothing ran is looked at only each so many times."""


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
            self._watched[container] = _Counters(pid)
        except CgroupGone:
            return False
        except (LookupError, OSError) as error:
            raise SensorError(f"cgroup of container {container}: {error}") from error
        return True

    def forget(self, container: str) -> None:
        """Those that end are forgotten anyway."""
        if counters := self._watched.pop(container, None):
            counters.cgroup.close()

    def look(self) -> None:
        """At once instead of at the next interval, and at all of them."""
        for counters in self._watched.values():
            counters.looks_left = 0
        self._wake.set()

    async def events(self) -> AsyncIterator[list[Event]]:
        while not self._closed:
            for container in self._busy():
                if batch := list(self._sample(container)):
                    yield batch
                await asyncio.sleep(0)  # others' turn: a sample is some ten reads
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), together_s(self._interval_s, time.monotonic()))
            if not self._closed:
                self._wake.clear()

    async def close(self) -> None:
        self._closed = True
        self._wake.set()
        for container in list(self._watched):
            self.forget(container)

    def _busy(self) -> list[str]:
        """Those in which anything ran since their last sample: of the others nothing can have changed."""
        return [container for container, counters in list(self._watched.items()) if self._ran(counters)]

    @staticmethod
    def _ran(counters: _Counters) -> bool:
        try:
            return counters.is_due() and counters.ran()
        except (CgroupGone, OSError):
            return True  # its sample says so

    def _sample(self, container: str) -> Iterator[Event]:
        counters = self._watched.get(container)
        if counters is None:
            return
        try:
            for hit in counters.hits():
                yield LimitReached(
                    time_ns=time.monotonic_ns(),
                    sandbox=container,
                    process=Process(pid=counters.pid),
                    tier=self.tier,
                    kind=str(hit.kind),
                    limit=hit.limit,
                    used=hit.used,
                )
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
        self.looks_left = 1

    def is_due(self) -> bool:
        self.looks_left -= 1
        return self.looks_left <= 0

    def ran(self) -> bool:
        """Raises CgroupGone."""
        ran = self.cgroup.cpu_ns() != self._last.cpu_ns
        self.looks_left = 1 if ran else IDLE_LOOKS
        return ran

    def hits(self) -> list[Exceeded]:
        """Raises CgroupGone."""
        self._last = self.cgroup.usage()
        return self._progress.exceeded(self._last, self.cgroup.limits())

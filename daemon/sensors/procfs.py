"""What runs where, read from /proc: inventory, and a check on what the other sensors announced.

Polling sees no short process, so nothing is detected by it that another sensor could tell. What it finds
that nobody announced has come in unseen; what it finds changed has left its container in some other way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from daemon.errors import SensorError
from daemon.events import Drift, Enrolled, Event, Process, Tier, UnannouncedProcess
from daemon.sensors.attribution import HOST, container_of, ran_ns
from daemon.sensors.drift import Baselines, Expect
from daemon.sensors.observation import Observation, mount_namespace_of, observe
from daemon.ticks import until_tick_s

INTERVAL_S = 30.0
GRACE_S = 1.0
"""A younger process is not judged: its event may be on the way, and its runtime not yet done with it."""

Announced = Callable[[int], bool]
"""Whether an event told of the process that has this pid now."""


@dataclass(frozen=True, slots=True)
class Found:
    """`started_s` and the pid together are a process's identity."""

    container: str
    started_s: float
    seen: Observation

    @property
    def key(self) -> tuple[int, float]:
        return self.seen.process.pid, self.started_s


@dataclass(frozen=True, slots=True)
class Look:
    """One that has not run since is still what it was."""

    ran_ns: int
    containers: frozenset[str]
    """Those that were known: on the host is what is in none of them."""
    found: Found | None
    """None on the host."""

    def holds(self, ran_ns: int | None, containers: frozenset[str]) -> bool:
        return self.ran_ns == ran_ns and (self.found is not None or self.containers == containers)


class ProcfsSensor:
    """Reports UnannouncedProcess, and Enrolled for one that has drifted since it was announced.

    Without `announced` it is the only sensor, and reports Enrolled for each process that it finds.
    """

    tier = Tier.PROCFS

    def __init__(
        self, expect: Expect, announced: Announced | None = None, *, interval_s: float = INTERVAL_S
    ) -> None:
        """Raises SensorError where /proc hides processes."""
        _check_proc()
        self._announced = announced
        self._interval_s = interval_s
        self._baselines = Baselines(expect)
        self._reported: dict[tuple[int, float], Drift] = {}
        self._inventory: dict[str, list[Process]] = {}
        self._looks: dict[int, Look] = {}
        self._refused: set[int] = set()
        self._unreadable = 0
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def lost(self) -> dict[str, int]:
        """unreadable: processes that /proc refused to tell about, each counted once."""
        return {"unreadable": self._unreadable}

    def inventory(self) -> dict[str, list[Process]]:
        """Of the last look: every container's processes, the oldest first."""
        return self._inventory

    def look(self) -> None:
        """At once instead of at the next interval: after a loss."""
        self._wake.set()

    async def events(self) -> AsyncIterator[list[Event]]:
        while not self._closed:
            # In a thread, as a workload can delay the reading of its command line.
            found = await asyncio.to_thread(self._find)
            if batch := list(self._reconcile(found)):
                yield batch
            with suppress(TimeoutError):
                async with asyncio.timeout(until_tick_s(self._interval_s, time.monotonic())):
                    await self._wake.wait()
            if not self._closed:
                self._wake.clear()

    async def close(self) -> None:
        self._closed = True
        self._wake.set()

    def _find(self) -> list[Found]:
        """The oldest first: a container's first process is the measure of the others."""
        found: list[Found] = []
        refused: set[int] = set()
        before, self._looks = self._looks, {}
        containers = frozenset(self._inventory)
        for process in psutil.process_iter():
            try:
                found += self._look_at(process, before.get(process.pid), containers)
            except (psutil.AccessDenied, OSError):
                refused.add(process.pid)
        self._unreadable += len(refused - self._refused)
        self._refused = refused
        return sorted(found, key=lambda one: one.started_s)

    def _look_at(
        self, process: psutil.Process, before: Look | None, containers: frozenset[str]
    ) -> Iterator[Found]:
        """Most have not run since the last look: all that there is to read of them is read once."""
        ran = ran_ns(process.pid)
        if before is not None and before.holds(ran, containers):
            found = before.found
        else:
            found = next(self._inspect(process), None)
        if ran is not None:
            self._looks[process.pid] = Look(ran, containers, found)
        if found is not None:
            yield found

    def _inspect(self, process: psutil.Process) -> Iterator[Found]:
        with suppress(psutil.NoSuchProcess), process.oneshot():  # a zombie counts as none
            container = container_of(process.pid) or self._strayed(process.pid)
            if container != HOST:
                seen = observe(process.pid)
                described = replace(seen.process, argv=tuple(process.cmdline()))
                if seen.root is not None and process.is_running():
                    yield Found(container, process.create_time(), replace(seen, process=described))

    def _strayed(self, pid: int) -> str:
        """A process that left the cgroup, or came in by setns(2), is still in the mount namespace."""
        return self._baselines.in_namespace(mount_namespace_of(pid)) or HOST

    def _reconcile(self, found: list[Found]) -> Iterator[Event]:
        self._inventory = {}
        for one in found:
            self._inventory.setdefault(one.container, []).append(one.seen.process)
        self._baselines.retain(self._inventory)
        known = {one.key for one in found}
        self._reported = {key: drift for key, drift in self._reported.items() if key in known}
        for one in found:
            if time.time() - one.started_s >= GRACE_S:
                yield from self._judge(one)

    def _judge(self, one: Found) -> Iterator[Event]:
        drift = self._baselines.judge(one.container, one.seen)
        before = self._reported.get(one.key)
        told = before is not None or (self._announced is not None and self._announced(one.seen.process.pid))
        self._reported[one.key] = drift | (before or Drift.NONE)
        if not told and self._announced is not None:
            yield UnannouncedProcess(**self._of(one, drift))
        elif not told or drift & ~(before or Drift.NONE):
            yield Enrolled(**self._of(one, drift), already_running=True)

    def _of(self, one: Found, drift: Drift) -> dict[str, Any]:
        return {
            "time_ns": time.monotonic_ns(),
            "sandbox": one.container,
            "process": one.seen.process,
            "tier": self.tier,
            "drift": drift,
        }


def _check_proc() -> None:
    try:
        Path("/proc/1/cgroup").read_bytes()
    except OSError as error:
        raise SensorError(
            f"procfs: {error.strerror}: other users' processes are hidden: run the daemon as root, with "
            "ProtectProc=default, and /proc without hidepid"
        ) from error

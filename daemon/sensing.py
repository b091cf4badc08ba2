"""The ladder of sensors: the best that this host has, those that always run beside it, and their health.

eBPF, else the proc connector with fanotify. Always: /proc for reconciliation, cgroup counters for limits,
inotify for the host's own files. A sensor that ends is a finding, and is started again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon.errors import EngineError, SensorError
from daemon.events import Enrolled, Event, EventsLost, Process, ProcessExecuted, SensorFailed, Tier
from daemon.pipeline import Pipeline
from daemon.sandbox.facts import EngineFacts
from daemon.sandbox.hostconfig import cgroup_parent
from daemon.sensors import Sensor
from daemon.sensors.ebpf import EbpfSensor
from daemon.sensors.fanotify import FanotifySensor
from daemon.sensors.guard import Deny, InodeGuard
from daemon.sensors.inotify import InotifySensor
from daemon.sensors.limits import LimitsSensor
from daemon.sensors.netlink import NetlinkSensor
from daemon.sensors.procfs import ProcfsSensor
from daemon.sensors.statx import status_of
from daemon.sensors.watches import Watch as WatchedFile
from daemon.ticks import tick, until_tick_s

LOSS_INTERVAL_S, IDLE_LOSS_INTERVAL_S = 1.0, 30.0
"""The second while no events come: then none are lost, and only a program that was detached can be found."""
RESTART_S = (0.1, 1.0, 5.0, 30.0)
"""Waits before a sensor is started again; one that ran for longer than the last of them begins anew."""
FLUSH_TURNS = 256
LIMITS_AFTER_S = 0.05
EVENT_SENSORS = {"ebpf", "netlink", "fanotify", "inotify", "guard"}
"""What these lose nobody can look up later, as one can in /proc and in counters."""
DRIVERS = ("cgroupfs", "systemd")
ENGINES_PARENT = {"cgroupfs": ("/docker", ""), "systemd": ("/system.slice", "docker-")}

log = structlog.get_logger()
Open = Callable[[], Awaitable[Sensor]]


@dataclass(slots=True)
class Health:
    tier: Tier
    running: bool = False
    problem: str = ""
    restarts: int = 0


class Sensing:
    """`run` it while sandboxes run; `on_enrolled` hears of each program that came in from outside."""

    def __init__(
        self, pipeline: Pipeline, files: Iterable[WatchedFile], engine: Callable[[], Awaitable[EngineFacts]]
    ) -> None:
        self.health: dict[str, Health] = {}
        self.on_enrolled: Callable[[Enrolled], None] = lambda _: None
        self.on_executed: Callable[[ProcessExecuted], None] = lambda _: None
        """Where the new program is in place already: fanotify asks before it is."""
        self.on_fed: Callable[[], None] = lambda: None
        """Told that something was seen, whatever it is."""
        self.watch_all = False
        self.guarded: dict[Path, Deny] = {}
        """Files of the host whose opening is denied."""
        self.quarantined: set[str] = set()
        self.ready = asyncio.Event()
        """The best sensor of this host is attached, or there is none."""
        self._pipeline = pipeline
        self._files = list(files)
        self._engine = engine
        self._sensors: dict[str, Sensor] = {}
        self._told_lost: dict[tuple[str, str], int] = {}
        self._fed = asyncio.Event()
        self._enrolled: dict[str, int] = {}
        """A process of each container that came in from outside."""

    # --- what is in force

    @property
    def tier(self) -> Tier | None:
        """The best that runs; None while nothing sees processes."""
        running = {self.health[name].tier for name in self._sensors if name in {"ebpf", "netlink", "procfs"}}
        return min(running, key=list(Tier).index, default=None)

    @property
    def lost(self) -> dict[str, int]:
        return {
            f"{name}.{reason}": count
            for name, sensor in self._sensors.items()
            for reason, count in sensor.lost.items()
        }

    @property
    def ebpf(self) -> EbpfSensor | None:
        sensor = self._sensors.get("ebpf")
        return sensor if isinstance(sensor, EbpfSensor) else None

    # --- containers

    def _enrol(self, container: str, pid: int) -> None:
        """The sensors beside find a container by one of its processes."""
        if container in self._enrolled:
            return
        self._enrolled[container] = pid
        for sensor in self._sensors.values():
            if isinstance(sensor, LimitsSensor):  # it samples later anyway, and a start is waited for
                loop = asyncio.get_running_loop()
                loop.call_later(LIMITS_AFTER_S, self._show_later, sensor, container, pid)
            else:
                self._show(sensor, container, pid)

    def _show_later(self, sensor: Sensor, container: str, pid: int) -> None:
        if container in self._enrolled:
            self._show(sensor, container, pid)

    def _show(self, sensor: Sensor, container: str, pid: int) -> None:
        """Counters of the daemon's own sandboxes are sampled where they are supervised."""
        known = self._pipeline.expected(container)
        managed = known is not None and known.managed
        with suppress(SensorError):
            if isinstance(sensor, FanotifySensor) or (isinstance(sensor, LimitsSensor) and not managed):
                sensor.watch(container, pid)

    def forget(self, container: str) -> None:
        self._enrolled.pop(container, None)
        self.quarantined.discard(container)
        for sensor in self._sensors.values():
            if isinstance(sensor, EbpfSensor | FanotifySensor | LimitsSensor):
                sensor.forget(container)

    def quarantine(self, container: str) -> None:
        """From now on it may connect to itself only; what stands is not cut. Raises SensorError.

        Without the eBPF sensor it is only remembered.
        """
        self.quarantined.add(container)
        if self.ebpf is not None:
            self.ebpf.quarantine(container)

    def process_of(self, container: str) -> int | None:
        """One that came in from outside, which may have ended."""
        return self._enrolled.get(container)

    def flush(self) -> None:
        """Judges at once what the kernel has told so far."""
        if (sensor := self.ebpf) is None:
            return
        for _ in range(FLUSH_TURNS):
            if not (batch := sensor.poll()):
                return
            self.feed(batch)

    def feed(self, batch: list[Event]) -> None:
        self._fed.set()
        self.on_fed()
        for event in batch:
            if isinstance(event, Enrolled) and event.sandbox:
                self._enrol(event.sandbox, event.process.pid)
                self.on_enrolled(event)
            elif isinstance(event, ProcessExecuted) and event.tier is not Tier.NETLINK:
                self.on_executed(event)
        self._pipeline.feed(batch)

    # --- running

    async def run(self) -> None:
        """Until cancelled. Files are guarded before anything else is opened."""
        async with asyncio.TaskGroup() as tasks:
            if self.guarded:
                tasks.create_task(self._keep("guard", Tier.NETLINK, self._open_guard))
            tasks.create_task(self._processes(tasks))
            tasks.create_task(self._keep("procfs", Tier.PROCFS, self._open_procfs))
            tasks.create_task(self._keep("limits", Tier.CGROUP, self._open_limits))
            tasks.create_task(self._keep("inotify", Tier.INOTIFY, self._open_inotify))
            tasks.create_task(self._tell_losses())

    async def _processes(self, tasks: asyncio.TaskGroup) -> None:
        """The best one. Where eBPF cannot be had at all, the next step of the ladder for good."""
        if await self._keep("ebpf", Tier.EBPF, self._open_ebpf):
            return
        tasks.create_task(self._keep("fanotify", Tier.NETLINK, self._open_fanotify))
        if not await self._keep("netlink", Tier.NETLINK, self._open_netlink):
            self.ready.set()

    async def _keep(self, name: str, tier: Tier, open_sensor: Open) -> bool:
        """False where this host cannot have it; else it runs, through restarts, until cancelled."""
        health = self.health[name] = Health(tier)
        sensor = await _opened(name, open_sensor, health)
        if sensor is None:
            log.warning("sensor not available", sensor=name, reason=health.problem)
            return False
        failures = 0
        while True:
            if sensor is not None:
                started_s = time.monotonic()
                await self._iterate(name, sensor, health)
                failures = 0 if time.monotonic() - started_s > RESTART_S[-1] else failures
            self._tell_failure(name, health)
            await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S) - 1)])
            failures += 1
            sensor = await _opened(name, open_sensor, health)

    async def _iterate(self, name: str, sensor: Sensor, health: Health) -> None:
        """To its end, which is a failure whatever the reason; health has it."""
        self._sensors[name], health.tier, health.running, health.problem = sensor, sensor.tier, True, ""
        self._introduce(sensor)
        if name in {"ebpf", "netlink"}:
            self.ready.set()
        try:
            async for batch in sensor.events():
                self.feed(batch)
            health.problem = "it ended"
        except Exception as error:  # whatever it was: told, and started again
            health.problem = _reason(error)
            log.exception("sensor failed", sensor=name)
        finally:
            health.running = False
            del self._sensors[name]
            self._join()
            await sensor.close()

    def _introduce(self, sensor: Sensor) -> None:
        """One that is new learns of the containers that run already."""
        self._join()
        for container, pid in self._enrolled.items():
            self._show(sensor, container, pid)

    def _join(self) -> None:
        """fanotify asks the connector, if one runs, for the origin of processes."""
        fanotify, netlink = self._sensors.get("fanotify"), self._sensors.get("netlink")
        if isinstance(fanotify, FanotifySensor):
            fanotify.join(netlink if isinstance(netlink, NetlinkSensor) else None)

    def _tell_failure(self, name: str, health: Health) -> None:
        health.restarts += 1
        failed = SensorFailed(
            time_ns=time.monotonic_ns(),
            sandbox="",
            process=Process(pid=0),
            tier=health.tier,
            sensor=name,
            reason=health.problem,
            restarted=True,
        )
        self._pipeline.feed([failed])

    async def _next_look(self) -> None:
        """Soon after events, and always soon while files are guarded: one may be replaced."""
        self._fed.clear()
        longest_s = LOSS_INTERVAL_S if "guard" in self._sensors else IDLE_LOSS_INTERVAL_S
        with suppress(TimeoutError):
            async with asyncio.timeout(until_tick_s(longest_s, time.monotonic())):
                await self._fed.wait()
                await tick(LOSS_INTERVAL_S)

    async def _tell_losses(self) -> None:
        while True:
            await self._next_look()
            if self.ebpf is not None:
                self.ebpf.verify()
            if isinstance(guard := self._sensors.get("guard"), InodeGuard):
                self._guard(guard)
            self._pipeline.feed([self._loss(key, count) for key, count in self._new_losses()])

    def _new_losses(self) -> list[tuple[str, int]]:
        found = []
        for name in EVENT_SENSORS & self._sensors.keys():
            for reason, total in self._sensors[name].lost.items():
                new = total - self._told_lost.get((name, reason), 0)
                self._told_lost[name, reason] = total
                if new > 0:
                    found.append((f"{name}.{reason}", new))
        return found

    def _loss(self, reason: str, count: int) -> EventsLost:
        tier = self.health[reason.partition(".")[0]].tier
        return EventsLost(
            time_ns=time.monotonic_ns(),
            sandbox="",
            process=Process(pid=0),
            tier=tier,
            count=count,
            reason=reason,
        )

    # --- opening

    async def _open_ebpf(self) -> Sensor:
        sensor = await EbpfSensor.open(calls=self._pipeline.syscalls, names=self._pipeline.names)
        try:
            for parent, prefix in await self._parents():
                sensor.watch_parent(parent, prefix)
            if self.watch_all:
                sensor.watch_device(status_of("/").device)
        except BaseException:
            await sensor.close()
            raise
        return sensor

    async def _parents(self) -> list[tuple[str, str]]:
        """Where the engine puts containers: the daemon's own parent, and all others if they are watched.

        While the engine does not answer, by either of its drivers: its first container is to be seen too.
        """
        try:
            drivers: tuple[str, ...] = ((await self._engine()).cgroup_driver,)
        except EngineError as error:
            log.warning("the engine's cgroup layout is not known yet", reason=str(error))
            drivers = DRIVERS
        own = [("/" + cgroup_parent(driver).strip("/"), ENGINES_PARENT[driver][1]) for driver in drivers]
        return own + [ENGINES_PARENT[driver] for driver in drivers if self.watch_all]

    async def _open_netlink(self) -> Sensor:
        return NetlinkSensor(self._pipeline.expected)

    async def _open_fanotify(self) -> Sensor:
        return FanotifySensor()

    async def _open_procfs(self) -> Sensor:
        """After the one whose first events tell of what runs already: all else would be unannounced."""
        await self.ready.wait()
        self.flush()
        announced = self._pipeline.processes.announced if {"ebpf", "netlink"} & self._sensors.keys() else None
        return ProcfsSensor(self._pipeline.expected, announced)

    async def _open_limits(self) -> Sensor:
        return LimitsSensor()

    async def _open_inotify(self) -> Sensor:
        return InotifySensor(self._files)

    async def _open_guard(self) -> Sensor:
        made = InodeGuard()
        self._guard(made)
        return made

    def _guard(self, guard: InodeGuard) -> None:
        """Whatever is at each path now; that one is gone, or is another, inotify tells."""
        for path, deny in self.guarded.items():
            with suppress(SensorError):
                guard.guard(path, deny)

    def watch_file(self, file: WatchedFile) -> None:
        """From now on, and after a restart of the sensor."""
        self._files.append(file)
        if isinstance(sensor := self._sensors.get("inotify"), InotifySensor):
            with suppress(SensorError):  # counted as not watched
                sensor.add(file)

    def unwatch_file(self, path: Path) -> None:
        self._files = [file for file in self._files if file.path != path]
        if isinstance(sensor := self._sensors.get("inotify"), InotifySensor):
            with suppress(SensorError):
                sensor.remove(path)


async def _opened(name: str, open_sensor: Open, health: Health) -> Sensor | None:
    """None where it cannot be had now; health has the reason."""
    try:
        return await open_sensor()
    except SensorError as error:
        health.problem = str(error)
    except Exception as error:
        log.exception("sensor not opened", sensor=name)
        health.problem = _reason(error)
    return None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, SensorError) else f"{type(error).__name__}: {error}"

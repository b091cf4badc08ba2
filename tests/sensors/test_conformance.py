"""What every sensor keeps, whatever it watches. Another is put under test by naming how it is made."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import SensorError
from daemon.events import Event, Process, Tier
from daemon.sensors import Sensor
from daemon.sensors.fanotify import FanotifySensor
from daemon.sensors.guard import InodeGuard
from daemon.sensors.inotify import InotifySensor
from daemon.sensors.limits import LimitsSensor
from daemon.sensors.netlink import NetlinkSensor
from daemon.sensors.procfs import ProcfsSensor
from daemon.sensors.replay import Recorder, ReplaySensor
from daemon.sensors.watches import Watch, canary
from tests.sensors.conftest import Start
from tests.sensors.containers import Container

pytestmark = [pytest.mark.root, pytest.mark.docker]
DEADLINE_S = 10.0
PROMPT_S = 2.0
COMMAND = ("/bin/sh", "-c", "while sleep 0.1; do dd if=/dev/zero of=/dev/null bs=200M count=1; done")
OPENER = """
import sys, time
while True:
    try:
        open(sys.argv[1]).close()
    except OSError:
        pass
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class Scene:
    """A container that starts programs and is killed for want of memory all the time, and a file."""

    container: Container
    file: Path


Make = Callable[[Scene], Sensor]


def netlink(scene: Scene) -> Sensor:
    return NetlinkSensor()


def fanotify(scene: Scene) -> Sensor:
    sensor = FanotifySensor()
    sensor.watch(scene.container.id, scene.container.pid)
    return sensor


def guard(scene: Scene) -> Sensor:
    sensor = InodeGuard()
    sensor.guard(scene.file)
    return sensor


def inotify(scene: Scene) -> Sensor:
    return InotifySensor([canary(scene.file)])


def procfs(scene: Scene) -> Sensor:
    return ProcfsSensor(lambda container: None, lambda pid: False, interval_s=0.1)


def limits(scene: Scene) -> Sensor:
    sensor = LimitsSensor(0.05)
    assert sensor.watch(scene.container.id, scene.container.pid)
    return sensor


def replay(scene: Scene) -> Sensor:
    path = scene.file.with_name("recording")
    if not path.exists():
        recorder = Recorder(path)
        recorder.write([Event(time_ns=1, sandbox="", process=Process(pid=1), tier=Tier.EBPF)] * 10)
        recorder.close()
    return ReplaySensor(path)


SENSORS = (netlink, fanotify, guard, inotify, procfs, limits, replay)
sensors = pytest.mark.parametrize("make", SENSORS, ids=lambda make: make.__name__)


@pytest.fixture
def scene(start: Start, tmp_path: Path) -> Scene:
    (tmp_path / "file").write_text("x")
    return Scene(start(*COMMAND, mem_limit=32 << 20, memswap_limit=32 << 20), tmp_path / "file")


@asynccontextmanager
async def happening(scene: Scene) -> AsyncIterator[None]:
    """The file is opened now and then, by somebody else."""
    child = subprocess.Popen([sys.executable, "-c", OPENER, scene.file])
    try:
        yield
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)


def descriptors() -> set[tuple[str, str]]:
    """Those that sensors use, with what they are; not the sockets to the engine, which are the test's own."""
    links = {
        (path.name, str(path.readlink())) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
    }
    return {(number, link) for number, link in links if not link.startswith(("socket:", "/proc/"))}


def threads() -> set[str]:
    """But those of the loop's own pool, which it keeps."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def within(seconds: float, work: Awaitable[object]) -> object:
    async with asyncio.timeout(seconds):
        return await work


@sensors
async def test_batches_are_of_events_and_never_empty(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    async with happening(scene), asyncio.timeout(DEADLINE_S + 5):
        async for batch in sensor.events():
            assert batch
            assert all(isinstance(event, Event) for event in batch)
            assert all(event.time_ns > 0 for event in batch)
            break
    await sensor.close()


@sensors
async def test_events_are_of_the_sensors_tier(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    assert isinstance(sensor.tier, Tier)
    async with happening(scene), asyncio.timeout(DEADLINE_S + 5):
        async for batch in sensor.events():
            if sensor.tier != Tier.REPLAY:  # its events keep their own
                assert {event.tier for event in batch} == {sensor.tier}
            break
    await sensor.close()


@sensors
async def test_lost_is_counted_by_reason(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    for lost in (sensor.lost, await _after_a_while(sensor)):
        assert isinstance(lost, dict)
        assert lost
        assert all(type(count) is int and count >= 0 for count in lost.values())
        assert all(reason.isidentifier() for reason in lost)
    before = sensor.lost
    before["overflow"] = 4711  # it is the caller's own copy
    assert sensor.lost.get("overflow") != 4711
    await sensor.close()
    assert sensor.lost.keys() == lost.keys()


async def _after_a_while(sensor: Sensor) -> dict[str, int]:
    await asyncio.sleep(0.2)
    return sensor.lost


@sensors
async def test_close_ends_an_iteration_that_waits(make: Make, scene: Scene) -> None:
    sensor = make(scene)

    async def iterate() -> None:
        async for _ in sensor.events():
            pass

    iteration = asyncio.create_task(iterate())
    await asyncio.sleep(0.2)
    await within(PROMPT_S, sensor.close())
    await within(PROMPT_S, iteration)


@sensors
async def test_what_is_closed_yields_no_more_than_what_it_had(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    await within(PROMPT_S, sensor.close())

    async def rest() -> list[list[Event]]:
        return [batch async for batch in sensor.events()]

    assert all(await within(PROMPT_S, rest()) or [True])


@sensors
async def test_close_may_be_called_again(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    for _ in range(3):
        await within(PROMPT_S, sensor.close())


@sensors
async def test_nothing_is_left_open(make: Make, scene: Scene) -> None:
    """Nor is there a thread, a reader or a timer that remains."""
    before, before_threads = descriptors(), threads()
    for _ in range(3):
        sensor = make(scene)
        with pytest.raises(TimeoutError):
            await within(0.15, _iterate_for_ever(sensor))
        await sensor.close()
    assert descriptors() - before == set()
    assert threads() == before_threads
    assert not asyncio.get_running_loop()._selector.get_map().keys() - _readers()  # type: ignore[attr-defined]


def _readers() -> set[int]:
    """The loop's own pipe to itself."""
    loop = asyncio.get_running_loop()
    return {loop._ssock.fileno()}  # type: ignore[attr-defined]


async def _iterate_for_ever(sensor: Sensor) -> None:
    async for _ in sensor.events():
        pass
    await asyncio.sleep(3600)


@sensors
async def test_a_cancelled_iteration_can_be_taken_up_again(make: Make, scene: Scene) -> None:
    """Where there is more to tell: cancelling neither closes nor breaks a sensor."""
    sensor = make(scene)
    iteration = asyncio.create_task(_iterate_for_ever(sensor))
    await asyncio.sleep(0.2)
    iteration.cancel()
    with pytest.raises(asyncio.CancelledError):
        await iteration
    if sensor.tier != Tier.REPLAY:
        async with happening(scene), asyncio.timeout(DEADLINE_S):
            async for batch in sensor.events():
                assert batch
                break
    await within(PROMPT_S, sensor.close())


@sensors
async def test_a_sensor_that_is_not_iterated_holds_up_nothing(make: Make, scene: Scene) -> None:
    sensor = make(scene)
    async with happening(scene):
        before_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        assert asyncio.get_running_loop().time() - before_s < PROMPT_S
    await within(PROMPT_S, sensor.close())


@pytest.mark.parametrize("free", [0, 1])
@pytest.mark.parametrize("made", [NetlinkSensor, FanotifySensor, InodeGuard, "inotify"])
async def test_where_no_descriptor_is_left_it_says_so(made: Any, free: int, tmp_path: Path) -> None:
    """And takes none with it."""
    make = (lambda: InotifySensor([Watch(tmp_path, "profiles", below=True)])) if made == "inotify" else made
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it must leave no iterator open
    unused = (number for number in range(1 << 16) if not Path(f"/proc/self/fd/{number}").exists())
    limit = [next(unused) for _ in range(free + 1)][-1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    sensor = error = None
    try:
        sensor = make()
    except SensorError as raised:
        error = str(raised)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if sensor:  # one was enough for it
        assert free
        await sensor.close()
    else:
        assert error
        assert "open files" in error.lower()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

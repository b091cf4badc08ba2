"""Programs started from a real container's root file system, from inside and from the host."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from daemon.errors import SensorError
from daemon.events import HostExecuted, ProcessExecuted, ProcessExited
from daemon.sensors import notification
from daemon.sensors.fanotify import FanotifySensor
from daemon.sensors.netlink import NetlinkSensor
from daemon.sensors.notification import CLASS_CONTENT, Group
from tests.sensors.collecting import collecting, eventually
from tests.sensors.conftest import Start
from tests.sensors.containers import SLEEP, Container

pytestmark = [pytest.mark.root, pytest.mark.docker]
COUNT = 500


def merged(container: Container) -> Path:
    """Its root as the host has it mounted."""
    inspected = container.client.api.inspect_container(container.id)
    return Path(inspected["GraphDriver"]["Data"]["MergedDir"])


async def test_a_program_of_the_container(start: Start) -> None:
    container = start(*SLEEP)
    async with collecting(sensor := FanotifySensor()) as events:
        sensor.watch(container.id, container.pid)
        await asyncio.to_thread(container.run, "/workload", "nap", "200000")
        await eventually(lambda: [e for e in events.of(ProcessExecuted) if e.file.path == "/workload"])
    assert {e.sandbox for e in events} == {container.id}
    assert not events.of(HostExecuted)


async def test_a_program_of_the_container_run_by_the_host(start: Start) -> None:
    """As a core_pattern or a release_agent that leads into the container would."""
    container = start(*SLEEP)
    async with collecting(sensor := FanotifySensor()) as events:
        sensor.watch(container.id, container.pid)
        program = merged(container) / "workload"
        child = await asyncio.create_subprocess_exec(program, "nap", "200000")
        await eventually(lambda: events.of(HostExecuted))
        await child.wait()
    (executed,) = events.of(HostExecuted)
    assert (executed.sandbox, executed.process.pid) == (container.id, child.pid)
    assert executed.file.inode == program.stat().st_ino
    assert executed.process.exe != ""


async def test_a_short_program_run_by_the_host_beside_the_connector(start: Start) -> None:
    """What has ended is of the host as the connector remembers."""
    container = start(*SLEEP)
    netlink = NetlinkSensor()
    async with collecting(netlink), collecting(sensor := FanotifySensor(netlink)) as events:
        sensor.watch(container.id, container.pid)
        program = merged(container) / "workload"
        subprocess.run([program, "short", "20", "0"], check=True)  # the loop comes when all is over
        await eventually(lambda: len(events.of(HostExecuted)) >= 21)
    assert len(events) == 21
    assert sensor.lost["unattributed"] == 0


async def test_it_lends_the_connector_the_files_of_those_that_ended(start: Start) -> None:
    container = start(*SLEEP)
    netlink = NetlinkSensor()
    async with collecting(netlink) as events, collecting(sensor := FanotifySensor(netlink)) as of_host:
        sensor.watch(container.id, container.pid)
        await asyncio.to_thread(container.run, "/workload", "short", str(COUNT), "0")
        await eventually(lambda: len(events.of(ProcessExited, container.id)) > COUNT)
    executed = [
        e for e in events.of(ProcessExecuted, container.id) if e.process.lineage[:1] == ("/workload",)
    ]
    assert len(executed) == COUNT
    assert {e.file.path for e in executed} == {"/workload"}
    assert {e.process.exe for e in executed} == {"/workload"}
    assert sensor.lost == dict.fromkeys(sensor.lost, 0)
    assert not of_host


async def test_a_root_that_the_host_shares_is_refused() -> None:
    sensor = FanotifySensor()
    with pytest.raises(SensorError, match="overlay2"):
        sensor.watch("host", os.getpid())
    with pytest.raises(SensorError, match="cannot be watched"):
        sensor.watch("ended", 1 << 22)
    await sensor.close()


async def test_a_forgotten_container(start: Start) -> None:
    first, second = start(*SLEEP), start(*SLEEP)
    async with collecting(sensor := FanotifySensor()) as events:
        sensor.watch(first.id, first.pid)
        sensor.watch(second.id, second.pid)
        sensor.forget(first.id)
        await asyncio.to_thread(first.run, "/workload", "nap", "0")
        await asyncio.to_thread(second.run, "/workload", "nap", "0")
        await eventually(lambda: events.of(ProcessExecuted))
    assert {e.sandbox for e in events} == {second.id}


@pytest.mark.parametrize(("number", "remedy"), [(1, "CAP_SYS_ADMIN"), (38, "CONFIG_FANOTIFY"), (24, "raise")])
def test_what_lacks_is_named(number: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification._libc, "fanotify_init", lambda *_: -1)
    monkeypatch.setattr(notification.ctypes, "get_errno", lambda: number)
    with pytest.raises(SensorError, match=remedy):
        Group(CLASS_CONTENT)

"""Reconciliation and inventory of real containers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from daemon import ROOT
from daemon.events import Drift, Enrolled, UnannouncedProcess
from daemon.expectation import Expectation
from daemon.sensors import procfs as module
from daemon.sensors.netlink import NetlinkSensor
from daemon.sensors.observation import Observation
from daemon.sensors.procfs import GRACE_S, ProcfsSensor
from tests.sensors.collecting import collecting, eventually
from tests.sensors.conftest import Start
from tests.sensors.containers import SLEEP

pytestmark = [pytest.mark.root, pytest.mark.docker]
SETTLED_S = GRACE_S + 0.2
POWERS = {
    "cap_add": ["SYS_ADMIN", "SYS_PTRACE"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
}


def nothing(container: str) -> None:
    """No container is expected to be anything."""


async def test_the_unannounced_is_told_once(start: Start) -> None:
    container = start("/bin/sh", "-c", "sleep 300; :")
    await asyncio.sleep(SETTLED_S)
    announced = {container.pid}
    async with collecting(sensor := ProcfsSensor(nothing, announced.__contains__, interval_s=0.1)) as events:
        await eventually(lambda: events.of(UnannouncedProcess, container.id))
        await asyncio.sleep(0.5)
        inventory = sensor.inventory()[container.id]
    (unannounced,) = events.of(UnannouncedProcess, container.id)
    assert unannounced.process.argv == ("sleep", "300")
    assert unannounced.process.ppid == container.pid
    assert unannounced.drift == Drift.NONE
    assert [process.pid for process in inventory] == [container.pid, unannounced.process.pid]
    assert inventory[0].argv == ("/bin/sh", "-c", "sleep 300; :")
    assert not events.of(Enrolled, container.id)


async def test_a_young_process_is_not_judged(start: Start) -> None:
    sensor = ProcfsSensor(nothing, lambda pid: False, interval_s=0.05)
    async with collecting(sensor) as events:
        container = await asyncio.to_thread(start, *SLEEP)
        started_s = psutil.Process(container.pid).create_time()
        await eventually(lambda: container.id in sensor.inventory())
        await eventually(lambda: events.of(UnannouncedProcess, container.id))
        assert time.time() - started_s >= GRACE_S - 0.02  # a clock tick, and how psutil rounds it


async def test_what_the_connector_announces_is_announced(start: Start) -> None:
    netlink = NetlinkSensor()
    sensor = ProcfsSensor(nothing, lambda pid: bool(netlink.origin(pid)), interval_s=0.1)
    async with collecting(netlink), collecting(sensor) as events:
        container = await asyncio.to_thread(start, "/bin/sh", "-c", "sleep 300; :")
        await asyncio.sleep(SETTLED_S + 0.5)
        assert len(sensor.inventory()[container.id]) == 2
    assert not [e for e in events if e.sandbox == container.id]


async def test_alone_it_reports_every_process(start: Start) -> None:
    container = start(*SLEEP)
    await asyncio.sleep(SETTLED_S)
    async with collecting(ProcfsSensor(nothing, interval_s=0.1)) as events:
        await eventually(lambda: events.of(Enrolled, container.id))
        await asyncio.sleep(0.3)
    (enrolled,) = events.of(Enrolled, container.id)
    assert (enrolled.process.pid, enrolled.already_running) == (container.pid, True)


async def test_it_looks_at_once_when_asked(start: Start) -> None:
    async with collecting(sensor := ProcfsSensor(nothing, lambda pid: False)) as events:
        await asyncio.sleep(0.5)  # it has looked once
        container = await asyncio.to_thread(start, *SLEEP)
        await asyncio.sleep(SETTLED_S)
        sensor.look()
        await eventually(lambda: events.of(UnannouncedProcess, container.id))


async def test_drift_of_an_announced_process(start: Start) -> None:
    """Another mount namespace, without any event of a kernel sensor."""
    container = start("/bin/sh", "-c", "sleep 2; exec unshare -m sleep 300", **POWERS)
    await asyncio.sleep(SETTLED_S)
    async with collecting(ProcfsSensor(nothing, lambda pid: True, interval_s=0.1)) as events:
        await eventually(lambda: events.of(Enrolled, container.id))
        await asyncio.sleep(0.3)
    (drifted,) = events.of(Enrolled, container.id)
    assert (drifted.process.pid, drifted.drift) == (container.pid, Drift.MOUNT_NAMESPACE)


async def test_one_that_has_not_run_is_not_read_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[int] = Counter()
    observe = module.observe

    def counted(pid: int) -> Observation:
        read[pid] += 1
        return observe(pid)

    monkeypatch.setattr(module, "observe", counted)
    idle = start(*SLEEP)
    busy = start("/bin/sh", "-c", "while true; do sleep 0.05; done")
    await asyncio.sleep(SETTLED_S)
    async with collecting(sensor := ProcfsSensor(nothing, lambda pid: True, interval_s=0.1)):
        await eventually(lambda: read[busy.pid] > 10)
        assert [process.pid for process in sensor.inventory()[idle.id]] == [idle.pid]
    assert read[idle.pid] == 1


async def test_more_than_was_expected(start: Start) -> None:
    container = start(*SLEEP)
    await asyncio.sleep(SETTLED_S)
    expected = Expectation(container_id=container.id, uid=1000, capabilities=1)
    sensor = ProcfsSensor({container.id: expected}.get, lambda pid: True, interval_s=0.1)
    async with collecting(sensor) as events:
        await eventually(lambda: events.of(Enrolled, container.id))
    assert events.of(Enrolled, container.id)[0].drift == Drift.UID | Drift.CAPABILITIES


async def test_a_process_that_left_its_cgroup(start: Start) -> None:
    """It is found by the mount namespace that it is in."""
    container = start("/bin/sh", "-c", "sleep 300; :")
    await asyncio.sleep(SETTLED_S)
    async with collecting(sensor := ProcfsSensor(nothing, lambda pid: False, interval_s=0.1)) as events:
        await eventually(lambda: len(events.of(UnannouncedProcess, container.id)) == 2)
        stray = await asyncio.create_subprocess_exec(
            "nsenter", "-t", str(container.pid), "-m", "/workload", "nap", "5000000"
        )
        try:
            await eventually(lambda: len(events.of(UnannouncedProcess, container.id)) == 3)
        finally:
            stray.kill()
            await stray.wait()
    assert events.of(UnannouncedProcess, container.id)[-1].process.pid == stray.pid
    assert sensor.lost["unreadable"] <= 1  # some hosts hide the namespaces of pid 1 even from root


def test_a_hidden_proc_is_refused() -> None:
    code = "from daemon.sensors.procfs import ProcfsSensor; ProcfsSensor(lambda container: None)"
    user = f"setpriv --reuid=4711 --regid=4711 --clear-groups {sys.executable} -c '{code}'"
    mount = f"mount -t proc -o hidepid=invisible proc /proc && {user}; exit 1"  # pid 1 remains root's
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", mount]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "SensorError: procfs: " in done.stderr
    assert "hidepid" in done.stderr

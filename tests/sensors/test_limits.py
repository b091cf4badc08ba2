"""Limits that real containers hit, of which the daemon launched none."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.errors import SensorError
from daemon.events import LimitReached
from daemon.sandbox.cgroup import Cgroup, Limits, Usage
from daemon.sensors import limits
from daemon.sensors.limits import LimitsSensor, _Counters
from tests.sensors.collecting import collecting, eventually
from tests.sensors.conftest import Start
from tests.sensors.containers import SLEEP

MIB = 1 << 20
BOMB = "dd if=/dev/zero of=/dev/null bs=200M count=1"
FORKS = "for i in 1 2 3 4 5 6 7 8 9; do (b() { b | b & }; b) & done"
root_and_docker = [pytest.mark.root, pytest.mark.docker]


def gated(command: str) -> tuple[str, ...]:
    """Waits until it is watched."""
    return "/bin/sh", "-c", f"while [ ! -e /tmp/go ]; do sleep 0.05; done; {command}"


@pytest.mark.root
@pytest.mark.docker
class TestContainers:
    async def test_memory(self, start: Start) -> None:
        container = start(*gated(f"{BOMB}; sleep 300"), mem_limit=32 * MIB, memswap_limit=32 * MIB)
        async with collecting(sensor := LimitsSensor(0.05)) as events:
            pid = container.pid
            assert sensor.watch(container.id, pid)
            await asyncio.to_thread(container.run, "touch", "/tmp/go")
            await eventually(lambda: events)
            await asyncio.sleep(0.3)
        (hit,) = events.of(LimitReached)
        assert (hit.sandbox, hit.process.pid, hit.kind) == (container.id, pid, "memory")
        assert hit.limit == 32 * MIB
        assert hit.used <= hit.limit

    async def test_processes(self, start: Start) -> None:
        container = start(*gated(f"({FORKS}); sleep 300"), pids_limit=30)
        async with collecting(sensor := LimitsSensor(0.05)) as events:
            assert sensor.watch(container.id, container.pid)
            await asyncio.to_thread(container.run, "touch", "/tmp/go")
            await eventually(lambda: events)
        assert {(e.kind, e.limit) for e in events.of(LimitReached)} == {("pids", 30)}

    async def test_on_demand(self, start: Start) -> None:
        container = start(*gated(f"({FORKS}); sleep 300"), pids_limit=30)
        async with collecting(sensor := LimitsSensor(3600)) as events:
            await asyncio.sleep(0.05)
            assert sensor.watch(container.id, container.pid)
            await asyncio.to_thread(container.run, "touch", "/tmp/go")
            await asyncio.sleep(0.5)
            assert events == []
            sensor.look()
            await eventually(lambda: events)

    async def test_an_idle_one_is_looked_at_less_often(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        idle, busy = start(*SLEEP), start("/bin/sh", "-c", "while true; do :; done")
        looks: Counter[int] = Counter()

        class Counted(_Counters):
            def ran(self) -> bool:
                looks[self.pid] += 1
                return super().ran()

        monkeypatch.setattr(limits, "_Counters", Counted)
        async with collecting(sensor := LimitsSensor(0.02)):
            assert sensor.watch(idle.id, idle.pid)
            assert sensor.watch(busy.id, busy.pid)
            await eventually(lambda: looks[busy.pid] > 40)
        assert 0 < looks[idle.pid] < 10

    async def test_a_container_that_ends_is_forgotten(self, start: Start) -> None:
        container, other = start(*SLEEP), start(*SLEEP)
        async with collecting(sensor := LimitsSensor(0.05)) as events:
            pid = container.pid
            assert sensor.watch(container.id, pid)
            assert sensor.watch(other.id, other.pid)
            sensor.forget(other.id)
            assert cgroup_files() > 5
            await asyncio.to_thread(container.end)
            await eventually(lambda: cgroup_files() == 0)
            assert not sensor.watch(container.id, pid)
        assert events == []
        assert sensor.lost == {"unreadable": 0}

    async def test_close_releases_all(self, start: Start) -> None:
        sensor = LimitsSensor()
        container = start(*SLEEP)
        for _ in range(2):
            assert sensor.watch(container.id, container.pid)
        assert cgroup_files() > 5
        await sensor.close()
        assert cgroup_files() == 0


def cgroup_files() -> int:
    """That this process has open."""
    links = (str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return len([link for link in links if link.startswith("/sys/fs/cgroup/")])


async def test_counters_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(pid: int) -> Cgroup:
        raise LookupError("the kernel does not count pids_refused: enable the controllers of cgroups")

    monkeypatch.setattr(Cgroup, "of_pid", absent)
    with pytest.raises(SensorError, match="enable the controllers"):
        LimitsSensor().watch("x", os.getpid())


class FakeCgroup:
    """Samples as they are given."""

    def __init__(self) -> None:
        self.now = Usage(
            cpu_ns=0, memory_bytes=0, memory_peak_bytes=0, pids=1, pids_peak=1, pids_refused=0, oom_kills=0
        )

    def usage(self) -> Usage:
        return self.now

    def limits(self) -> Limits:
        return Limits(32 * MIB, 32 * MIB, 50_000, 100_000, 50)


def test_throttling_is_judged_over_ten_seconds_of_running_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = FakeCgroup()
    monkeypatch.setattr(Cgroup, "of_pid", lambda pid: cgroup)
    counters = _Counters(1)
    kinds: list[list[str]] = []
    for second in range(1, 31):
        periods = 10 * second
        throttled = periods if second <= 20 else 200  # a third stretch without
        cgroup.now = replace(
            cgroup.now, periods=periods, throttled_periods=throttled, cpu_ns=second * 10**9 // 2
        )
        kinds.append([hit.kind for hit in counters.hits()])
    assert [second for second, found in enumerate(kinds, 1) if found] == [10, 20]
    assert kinds[9] == ["cpu"]

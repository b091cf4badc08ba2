"""What is told of a sandbox whose cgroup says little, or is gone too soon.

The cgroups and the engine's word are made up here: a race with the service manager cannot be had at will.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.sandbox.cgroup import UNLIMITED, CgroupGone, Limits, Usage
from daemon.sandbox.engine import Engine
from daemon.sandbox.resources import Exceeded
from daemon.sandbox.sandbox import Sandbox
from daemon.sandbox.stillness import Stillness
from daemon.sandbox.supervision import AT_START, _oom_killed, _Samples
from daemon.sandbox.watcher import Unwatched, Watcher

MIB = 1 << 20
LIMITS = Limits(32 * MIB, 32 * MIB, UNLIMITED, 100_000, 8)
OOM = replace(AT_START, oom_kills=1)


class Readings:
    """A cgroup that has these samples, and then is removed."""

    def __init__(self, *samples: Usage) -> None:
        self._left = list(samples)

    def usage(self) -> Usage:
        if not self._left:
            raise CgroupGone("removed")
        return self._left.pop(0)


class Farewell:
    closed = False

    def close(self) -> None:
        self.closed = True


def sandbox(*samples: Usage, kills_watched: int = 0, pidfd: int = -1) -> Sandbox:
    made = SimpleNamespace(
        cgroup=Readings(*samples),
        limits=LIMITS,
        workspace=SimpleNamespace(statvfs=lambda: os.statvfs("/proc")),  # which has no limit
        oom=SimpleNamespace(killed=lambda: kills_watched),
        farewell=Farewell(),
        container_id="c",
        pid=7,
        pidfd=pidfd,
    )
    return cast(Sandbox, made)


class Told(Unwatched):
    """Keeps what the watching half is told."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def limited(self, container_id: str, pid: int, excess: Exceeded) -> None:
        assert (container_id, pid) == ("c", 7)
        self.kinds.append(excess.kind)


def samples_of(found: Sandbox, watcher: Watcher | None = None) -> _Samples:
    return _Samples(found, watcher or Told(), Stillness())


def engine(*, oom_killed: bool) -> Engine:
    async def inspect(container_id: str) -> Any:
        return {"State": {"OOMKilled": oom_killed and container_id == "c"}}

    return cast(Engine, SimpleNamespace(inspect=inspect))


@pytest.fixture
def ended() -> Iterator[int]:
    """Readable, as the pidfd of a process that has ended."""
    readable, writable = os.pipe()
    os.close(writable)
    yield readable
    os.close(readable)


def test_what_was_refused_before_the_first_sample_is_told() -> None:
    refused = replace(AT_START, pids=8, pids_peak=8, pids_refused=3)
    samples = samples_of(sandbox(refused, refused))
    assert [excess.kind for excess in samples.take()] == ["pids"]
    assert samples.take() == []


def test_the_watching_half_is_told_each_time_that_a_limit_was_hit_anew() -> None:
    usage = [replace(AT_START, pids_refused=3), replace(AT_START, pids_refused=3)]
    usage += [replace(AT_START, pids_refused=4, oom_kills=1)]
    told = Told()
    samples = samples_of(sandbox(*usage), told)
    assert [[excess.kind for excess in samples.take()] for _ in usage] == [["pids"], [], []]
    assert sorted(told.kinds) == ["memory", "pids", "pids"]


def test_of_a_full_workspace_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = sandbox(AT_START, AT_START), Told()
    full = SimpleNamespace(f_frsize=4096, f_blocks=8, f_bfree=0, f_bavail=0, f_files=8, f_favail=4)
    monkeypatch.setattr(found.workspace, "statvfs", lambda: full)
    samples = samples_of(found, told)
    assert [[excess.kind for excess in samples.take()] for _ in range(2)] == [["workspace"], []]
    assert told.kinds == ["workspace"]


@pytest.mark.parametrize("word", [True, False])
async def test_without_a_last_sample_the_engine_is_asked(word: bool) -> None:
    found = sandbox(AT_START)
    samples = samples_of(found)
    samples.take()
    samples.last()
    assert await _oom_killed(engine(oom_killed=word), found, samples) is word


@pytest.mark.parametrize(("sample", "killed"), [(AT_START, False), (OOM, True)])
async def test_a_last_sample_is_believed(sample: Usage, killed: bool) -> None:
    found = sandbox(sample)
    samples = samples_of(found)
    samples.last()
    assert await _oom_killed(engine(oom_killed=not killed), found, samples) is killed


async def test_so_is_the_watch() -> None:
    found = sandbox(kills_watched=1)
    samples = samples_of(found)
    samples.last()
    assert await _oom_killed(engine(oom_killed=False), found, samples) is True


async def test_a_first_process_that_is_killed_says_no_farewell(ended: int) -> None:
    found = sandbox(OOM, pidfd=ended)
    samples = samples_of(found)
    samples.exited()
    assert samples.usage == OOM
    assert (samples.ended.is_set(), found.farewell.closed) == (True, True)


async def test_after_a_farewell_nothing_is_read_again(ended: int) -> None:
    found = sandbox(OOM, AT_START, pidfd=ended)
    samples = samples_of(found)
    samples.last()
    samples.exited()
    assert samples.usage == OOM

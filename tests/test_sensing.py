"""A sensor that ends is told and comes back; one that a host cannot have is left out, and health says why."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest

from daemon import sensing as module
from daemon.errors import EngineUnavailable, SensorError
from daemon.events import SensorFailed, Tier
from daemon.expectation import Expectation
from daemon.findings import Finding
from daemon.pipeline import Pipeline, built_in
from daemon.sandbox.facts import EngineFacts
from daemon.sandbox.hostconfig import cgroup_parent
from daemon.sensing import Sensing
from daemon.sensors.cgroups import find_tree
from daemon.sensors.fanotify import FanotifySensor
from daemon.sensors.netlink import NetlinkSensor
from tests.sensors.bpf_links import detach, links_of_cgroups
from tests.sensors.collecting import eventually
from tests.sensors.watching import run_in

pytestmark = [pytest.mark.root, pytest.mark.bpf]


async def no_engine() -> EngineFacts:
    raise EngineUnavailable("no engine answers")


class Watched:
    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.pipeline = Pipeline(built_in(), self._publish, lambda *_: None)
        self.sensing = Sensing(self.pipeline, [], no_engine)

    def _publish(self, finding: Finding, _: Expectation) -> None:
        self.found.append(finding)

    @property
    def failures(self) -> list[SensorFailed]:
        return [found.event for found in self.found if isinstance(found.event, SensorFailed)]


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    running = asyncio.create_task(made.sensing.run())
    try:
        async with asyncio.timeout(60):
            await made.sensing.ready.wait()
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def lacking(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Sensing, f"_open_{name}", fail)


async def test_detached_by_somebody_else_it_is_told_and_comes_back() -> None:
    """And an engine that is down at the start costs no sensor: both of its layouts are watched."""
    before = links_of_cgroups()
    async with watched() as made:
        health = made.sensing.health["ebpf"]
        assert made.sensing.tier in {Tier.EBPF, Tier.LSM}
        stolen = min(links_of_cgroups() - before)
        detach(stolen)
        await eventually(lambda: made.failures)
        assert [found.severity for found in made.found] == ["critical"]
        assert "detached by somebody else: on_" in made.failures[0].reason
        await eventually(lambda: health.running)
        assert (health.restarts, health.problem) == (1, "")
        ebpf = made.sensing.ebpf
        assert ebpf is not None
        assert not ebpf._loaded.detached
        await _sees_a_sandbox(made)


async def _sees_a_sandbox(made: Watched) -> None:
    for driver in ("cgroupfs", "systemd"):
        name = "docker-" * (driver == "systemd") + "e" * 64 + ".scope" * (driver == "systemd")
        folder = find_tree().mount_point / cgroup_parent(driver).strip("/") / name
        seen = made.pipeline.events_seen
        await asyncio.to_thread(run_in, folder)
        await eventually(lambda seen=seen: made.pipeline.events_seen > seen)
        await eventually(lambda folder=folder: _removed(folder))


def _removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


async def test_the_next_step_comes_back_too_and_its_neighbour_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacking(monkeypatch, "ebpf", SensorError("this kernel has no BTF"))
    async with watched() as made:
        await eventually(lambda: "fanotify" in made.sensing._sensors)
        assert made.sensing.tier is Tier.NETLINK
        assert made.sensing.health["ebpf"].problem == "this kernel has no BTF"
        first, fanotify = (made.sensing._sensors[name] for name in ("netlink", "fanotify"))
        assert isinstance(first, NetlinkSensor)
        assert isinstance(fanotify, FanotifySensor)
        assert fanotify._beside is first
        _break(first)
        await eventually(lambda: made.failures)
        await eventually(lambda: made.sensing.health["netlink"].running)
        assert fanotify._beside is made.sensing._sensors["netlink"] is not first
        assert [event.sensor for event in made.failures] == ["netlink"]


def _break(sensor: NetlinkSensor) -> None:
    """Its socket becomes another kind of socket, with something to read: receiving fails."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        os.dup2(other.fileno(), sensor._connector.socket.fileno(), inheritable=False)
    sensor._read()


@pytest.mark.parametrize("error", [SensorError("none"), OSError(errno.EPERM, "no")])
async def test_without_any_the_daemon_starts_at_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("ebpf", "netlink", "fanotify"):
        lacking(monkeypatch, name, error)
    async with watched() as made:
        assert made.sensing.tier in {None, Tier.PROCFS}
        assert not made.failures
        assert made.sensing.health["ebpf"].restarts == 0
        assert made.sensing.health["ebpf"].problem


async def test_one_that_cannot_come_back_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_S", (0.01, 0.02))
    made = Watched()
    opened = 0

    class Ends:
        tier = Tier.CGROUP
        lost: ClassVar[dict[str, int]] = {}

        async def events(self) -> AsyncIterator[list[SensorFailed]]:
            return
            yield

        async def close(self) -> None:
            return

    async def once() -> Ends:
        nonlocal opened
        opened += 1
        if opened > 1:
            raise SensorError("gone for good")
        return Ends()

    keeping = asyncio.create_task(made.sensing._keep("limits", Tier.CGROUP, once))  # type: ignore[arg-type]
    await eventually(lambda: len(made.failures) >= 3)
    keeping.cancel()
    assert [event.reason for event in made.failures[:3]] == ["it ended", "gone for good", "gone for good"]

"""What counts as a departure, judged from observations."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from daemon.events import Drift, Event, Process, Tier
from daemon.expectation import Expectation
from daemon.sensors.batches import Batches
from daemon.sensors.drift import Baselines
from daemon.sensors.observation import UNKNOWN_FILE, Observation, host_namespaces

HOST = Process(pid=1, **host_namespaces())
INIT = Process(pid=2, uid=1000, mnt_ns=11, pid_ns=12, user_ns=HOST.user_ns, net_ns=14)
EXPECTED = Expectation(container_id="c", uid=1000, capabilities=0b1)


def seen(process: Process, root: tuple[int, int] | None = (1, 2)) -> Observation:
    return Observation(process, UNKNOWN_FILE, root)


def judged(after: Observation, expectation: Expectation | None = EXPECTED, first: Process = INIT) -> Drift:
    baselines = Baselines(lambda container: expectation)
    assert baselines.judge("c", seen(first)) == Drift.NONE
    return baselines.judge("c", after)


@pytest.mark.parametrize(
    ("after", "drift"),
    [
        (INIT, Drift.NONE),
        (replace(INIT, net_ns=99), Drift.NONE),
        (replace(INIT, mnt_ns=99), Drift.MOUNT_NAMESPACE),
        (replace(INIT, mnt_ns=HOST.mnt_ns), Drift.MOUNT_NAMESPACE),
        (replace(INIT, pid_ns=HOST.pid_ns), Drift.PID_NAMESPACE),
        (replace(INIT, user_ns=99), Drift.USER_NAMESPACE),
        (replace(INIT, capabilities=0b1), Drift.NONE),
        (replace(INIT, capabilities=0b11), Drift.CAPABILITIES),
        (replace(INIT, uid=0), Drift.UID),
        (replace(INIT, uid=1001), Drift.NONE),
        (replace(INIT, uid=0, mnt_ns=99), Drift.UID | Drift.MOUNT_NAMESPACE),
    ],
)
def test_a_departure_from_the_first_program(after: Process, drift: Drift) -> None:
    assert judged(seen(after)) == drift


def test_another_root() -> None:
    assert judged(seen(INIT, (1, 3))) == Drift.ROOT
    assert judged(seen(INIT, None)) == Drift.NONE


def test_without_an_expectation_the_first_program_is_the_measure() -> None:
    first = replace(INIT, capabilities=0b10)
    assert judged(seen(replace(first, capabilities=0b10)), None, first) == Drift.NONE
    assert judged(seen(replace(first, capabilities=0b11)), None, first) == Drift.CAPABILITIES
    assert judged(seen(replace(first, uid=0)), None, first) == Drift.UID
    assert judged(seen(replace(first, mnt_ns=HOST.mnt_ns)), None, first) == Drift.MOUNT_NAMESPACE


def test_a_first_program_in_the_hosts_namespaces_is_drift() -> None:
    baselines = Baselines(lambda container: EXPECTED)
    escaped = replace(INIT, mnt_ns=HOST.mnt_ns, pid_ns=HOST.pid_ns)
    assert baselines.judge("c", seen(escaped)) == Drift.MOUNT_NAMESPACE | Drift.PID_NAMESPACE
    assert baselines.of("c") is None  # and no measure for others


def test_what_may_be_shared_with_the_host() -> None:
    shared = replace(EXPECTED, host_namespaces=frozenset({"pid", "mnt"}))
    first = replace(INIT, mnt_ns=HOST.mnt_ns, pid_ns=HOST.pid_ns)
    assert judged(seen(first), shared, first) == Drift.NONE


def test_the_namespace_of_a_container() -> None:
    baselines = Baselines(lambda container: replace(EXPECTED, host_namespaces=frozenset({"mnt"})))
    baselines.judge("c", seen(INIT))
    baselines.judge("shares", seen(replace(INIT, mnt_ns=HOST.mnt_ns)))
    assert baselines.in_namespace(11) == "c"
    assert baselines.in_namespace(HOST.mnt_ns) is None
    baselines.retain(["shares"])
    assert baselines.in_namespace(11) is None


def event(number: int) -> Event:
    return Event(time_ns=number, sandbox="", process=Process(pid=number), tier=Tier.NETLINK)


async def test_batches_are_bounded_and_what_is_dropped_is_counted() -> None:
    batches = Batches(limit=3)
    batches.put(event(number) for number in range(5))
    assert batches.dropped == 2
    iteration = batches.iterate()
    assert [e.time_ns for e in await anext(iteration)] == [0, 1, 2]
    batches.put([event(7)])
    batches.close()
    assert [e.time_ns for e in await anext(iteration)] == [7]
    with pytest.raises(StopAsyncIteration):
        await anext(iteration)
    batches.put([event(8)])
    assert batches.dropped == 3


async def test_an_iteration_waits_for_news() -> None:
    batches = Batches()
    waiting = asyncio.create_task(anext(batches.iterate()))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert not waiting.done()
    batches.put([event(1)])
    assert len(await waiting) == 1

"""One counter for all that rest; here it is a file of our own."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path

import pytest

from daemon.sandbox import stillness as module
from daemon.sandbox.stillness import Stillness
from tests.sensors.collecting import eventually

INTERVAL_S = 0.02


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    file = tmp_path / "usage"
    file.write_text("1\n")
    return file


async def resting(stillness: Stillness, counter: Path, count: int = 1) -> list[asyncio.Task[None]]:
    """Tasks that rest, past the first reading."""
    await stillness.over(counter)
    return [asyncio.create_task(stillness.over(counter)) for _ in range(count)]


async def test_the_first_reading_may_be_a_change(counter: Path) -> None:
    async with asyncio.timeout(5):
        await Stillness(INTERVAL_S, INTERVAL_S).over(counter)


async def test_while_it_stands_still_all_rest(counter: Path) -> None:
    tasks = await resting(Stillness(INTERVAL_S, INTERVAL_S), counter, 3)
    _, waiting = await asyncio.wait(tasks, timeout=10 * INTERVAL_S)
    assert waiting == set(tasks)
    counter.write_text("2\n")
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_a_change_before_the_rest_ends_it_too(counter: Path) -> None:
    stillness = Stillness(INTERVAL_S, INTERVAL_S)
    await stillness.over(counter)
    counter.write_text("2\n")
    await asyncio.wait_for(stillness.over(counter), 5)


async def test_one_that_cannot_be_read_ends_it(counter: Path) -> None:
    (task,) = await resting(Stillness(INTERVAL_S, INTERVAL_S), counter)
    counter.unlink()
    await asyncio.wait_for(task, 5)


async def test_it_is_read_once_for_all_and_not_when_nobody_rests(
    counter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[Path] = []

    def read(file: Path) -> bytes:
        readings.append(file)
        return b"1"

    monkeypatch.setattr(module, "_content", read)
    tasks = await resting(Stillness(INTERVAL_S, INTERVAL_S), counter, 50)
    readings.clear()
    await eventually(lambda: len(readings) == 5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(3 * INTERVAL_S)  # what is due already still comes
    read_s = len(readings)
    await asyncio.sleep(10 * INTERVAL_S)
    assert len(readings) == read_s <= 7


async def test_the_longer_it_is_still_the_less_often_it_is_read(
    counter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[float] = []

    def read(file: Path) -> bytes:
        readings.append(time.monotonic())
        return b"1"

    monkeypatch.setattr(module, "_content", read)
    (task,) = await resting(Stillness(INTERVAL_S, 8 * INTERVAL_S), counter)
    readings.clear()
    await eventually(lambda: len(readings) == 6)
    rests_s = [after - before for before, after in pairwise(readings)]
    assert all(rest_s > 1.5 * INTERVAL_S for rest_s in rests_s)
    assert all(rest_s > 7 * INTERVAL_S for rest_s in rests_s[2:])
    task.cancel()


async def test_what_somebody_saw_run_is_looked_for_soon(counter: Path) -> None:
    stillness = Stillness(INTERVAL_S, 3600)
    (task,) = await resting(stillness, counter)
    stillness._counters[counter]._rest_s = 3600  # as after a long rest, and the next reading is far away
    await asyncio.wait([task], timeout=5 * INTERVAL_S)
    counter.write_text("2\n")
    await asyncio.wait([task], timeout=20 * INTERVAL_S)
    assert not task.done()
    stillness.may_be_over()
    await asyncio.wait_for(task, 5)

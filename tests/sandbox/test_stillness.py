"""One counter for all that rest; here it is a file of our own."""

from __future__ import annotations

import asyncio
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
        await Stillness(INTERVAL_S).over(counter)


async def test_while_it_stands_still_all_rest(counter: Path) -> None:
    tasks = await resting(Stillness(INTERVAL_S), counter, 3)
    _, waiting = await asyncio.wait(tasks, timeout=10 * INTERVAL_S)
    assert waiting == set(tasks)
    counter.write_text("2\n")
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_a_change_before_the_rest_ends_it_too(counter: Path) -> None:
    stillness = Stillness(INTERVAL_S)
    await stillness.over(counter)
    counter.write_text("2\n")
    await asyncio.wait_for(stillness.over(counter), 5)


async def test_one_that_cannot_be_read_ends_it(counter: Path) -> None:
    (task,) = await resting(Stillness(INTERVAL_S), counter)
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
    tasks = await resting(Stillness(INTERVAL_S), counter, 50)
    readings.clear()
    await eventually(lambda: len(readings) == 5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(3 * INTERVAL_S)  # what is due already still comes
    read_s = len(readings)
    await asyncio.sleep(10 * INTERVAL_S)
    assert len(readings) == read_s <= 7

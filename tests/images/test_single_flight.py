"""What many ask for at the same time is made once, and an error is nobody's but theirs."""

from __future__ import annotations

import asyncio

import pytest

from daemon.images.single_flight import SingleFlight


class Source:
    """Counts how often it was asked; answers once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def make(self) -> int:
        self.asked += 1
        number = self.asked
        await self.go.wait()
        if self.error:
            raise self.error
        return number


@pytest.fixture
def source() -> Source:
    return Source()


async def test_fifty_at_once_are_one(source: Source) -> None:
    cache: SingleFlight[str, int] = SingleFlight(8)
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(cache.get("a", source.make)) for _ in range(50)]
        await asyncio.sleep(0)
        source.go.set()
    assert {one.result() for one in asked} == {1}
    assert await cache.get("a", source.make) == 1
    assert source.asked == 1


async def test_an_error_is_told_to_all_who_wait_and_not_kept(source: Source) -> None:
    cache: SingleFlight[str, int] = SingleFlight(8)
    source.error = OSError("broken")
    asyncio.get_running_loop().call_later(0.01, source.go.set)
    told = await asyncio.gather(*(cache.get("a", source.make) for _ in range(5)), return_exceptions=True)
    assert [str(error) for error in told] == ["broken"] * 5
    assert source.asked == 1
    source.error = None
    assert await cache.get("a", source.make) == 2


async def test_who_leaves_takes_nobody_along(source: Source) -> None:
    cache: SingleFlight[str, int] = SingleFlight(8)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(cache.get("a", source.make))
        await asyncio.sleep(0)
        second = tasks.create_task(cache.get("a", source.make))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        source.go.set()
    assert second.result() == 2


async def test_what_may_not_be_kept_is_made_anew(source: Source) -> None:
    cache: SingleFlight[str, int] = SingleFlight(8, keep=lambda number: number > 1)
    source.go.set()
    assert [await cache.get("a", source.make) for _ in range(3)] == [1, 2, 2]


async def test_the_least_used_is_forgotten(source: Source) -> None:
    cache: SingleFlight[str, int] = SingleFlight(2)
    source.go.set()
    assert [await cache.get(key, source.make) for key in "abaca"] == [1, 2, 1, 3, 1]
    assert await cache.get("b", source.make) == 4
    cache.forget(lambda key: key == "b")
    assert await cache.get("b", source.make) == 5

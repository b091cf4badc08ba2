"""Blocking work whose end must be known."""

from __future__ import annotations

import asyncio
import threading

import pytest

from daemon.tasks import to_its_end


async def test_a_cancellation_comes_once_it_is_done() -> None:
    began, goes_on, done = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        goes_on.wait(10)
        done.append(True)
        raise OSError

    waiting = asyncio.create_task(to_its_end(work))
    await began.wait()
    waiting.cancel()
    await asyncio.sleep(0.02)
    assert not waiting.done()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == [True]


async def test_its_error_is_raised() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await to_its_end(work)

"""Threads beside the loop: the interpreter switches fast for as long as one computes, and no longer."""

from __future__ import annotations

import asyncio
import sys

import pytest

from daemon.images.beside import SWITCH_INTERVAL_S, beside


async def test_the_interval_is_short_meanwhile_and_as_before_after() -> None:
    usual_s = sys.getswitchinterval()
    async with asyncio.TaskGroup() as tasks:
        during = [tasks.create_task(beside(sys.getswitchinterval)) for _ in range(3)]
    assert [task.result() for task in during] == [pytest.approx(SWITCH_INTERVAL_S)] * 3
    assert sys.getswitchinterval() == usual_s


async def test_also_where_it_fails() -> None:
    usual_s = sys.getswitchinterval()
    with pytest.raises(ValueError, match="invalid literal"):
        await beside(int, "x")
    assert sys.getswitchinterval() == usual_s

"""Images are judged ahead, again and again, whatever becomes of one of them."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from daemon.errors import EngineError, ImageNotFound, PolicyError
from daemon.images.prewarm import keep_warm

NAMED = [("gone:1", "default"), ("broken:1", "strict"), ("odd:1", "nobody"), ("tool:1", "default")]


async def test_each_is_judged_and_a_problem_is_told_once() -> None:
    asked: list[tuple[str, str]] = []
    enough = asyncio.Event()

    async def check(image: str, profile: str) -> None:
        asked.append((image, profile))
        if len(asked) >= 3 * len(NAMED):
            enough.set()
        if image == "gone:1":
            raise ImageNotFound("not here", 404)
        if image == "broken:1":
            raise EngineError("broken")
        if profile == "nobody":
            raise PolicyError("no such profile")

    with capture_logs() as logs:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(keep_warm(check, NAMED, interval_s=0.001))
            await enough.wait()
            task.cancel()
    assert asked[: 2 * len(NAMED)] == NAMED * 2
    assert [(line["image"], line["reason"]) for line in logs] == [
        ("broken:1", "broken"),
        ("odd:1", "no such profile"),
    ]


async def test_without_names_it_ends() -> None:
    async with asyncio.timeout(30):
        await keep_warm(pytest.fail, [])

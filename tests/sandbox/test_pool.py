"""The pool where nothing can be made: the rest of it is tested through the API."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from daemon.errors import EngineError
from daemon.sandbox import pool as module
from daemon.sandbox.engine import Engine
from daemon.sandbox.kind import Wanted
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.pool import Pool
from daemon.sandbox.preparation import Request
from daemon.sandbox.watcher import Unwatched

ASKED = 20


async def test_what_stands_against_spares_is_told_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    asked, enough = 0, asyncio.Event()

    async def request(options: SandboxOptions) -> Request:
        nonlocal asked
        asked += 1
        if asked == ASKED:
            enough.set()
        raise EngineError("away") if asked < ASKED // 2 else ZeroDivisionError("a mistake of ours")

    pool = Pool(cast(Engine, None), request)
    pool.wanted = [Wanted(SandboxOptions(image="x", command=["true"]), 1)]
    with capture_logs() as logs:
        running = asyncio.create_task(pool.run(Unwatched()))
        async with asyncio.timeout(10):
            await enough.wait()
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    assert [line["reason"] for line in logs] == ["away", "a mistake of ours"]
    assert pool.count == 0


async def test_without_any_wanted_it_has_nothing_to_do() -> None:
    async def request(options: SandboxOptions) -> Request:
        raise AssertionError(options)

    await Pool(cast(Engine, None), request).run(Unwatched())

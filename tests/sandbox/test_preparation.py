"""A launch that is given up in its midst."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.errors import EngineError
from daemon.sandbox.engine import Engine
from daemon.sandbox.preparation import Request, _create

pytestmark = [pytest.mark.root, pytest.mark.docker]

SOCKET = Path("/run/docker.sock")


def request_for(image: str) -> Request:
    trail = SimpleNamespace(sandbox_id=secrets.token_hex(8))
    subject = SimpleNamespace(body={"Image": image, "Cmd": ["true"], "Labels": {}})
    return cast(Request, SimpleNamespace(trail=trail, subject=subject, labels={}, from_memory=False))


@pytest.mark.parametrize("after_s", [0, 0.001, 0.005, 0.02, 0.05])
async def test_one_that_is_cancelled_while_its_container_is_made_leaves_none(
    image: str, after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, engine, asked = request_for(image), Engine(SOCKET), asyncio.Event()
    create = engine.create

    async def slow(body: dict[str, Any], name: str) -> str:
        asked.set()
        made = await create(body, name)
        await asyncio.sleep(0.1)  # it answers late
        return made

    monkeypatch.setattr(engine, "create", slow)
    async with AsyncExitStack() as cleanup:
        launching = asyncio.create_task(_create(engine, request, cleanup))
        await asked.wait()
        await asyncio.sleep(after_s)
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching
    with pytest.raises(EngineError, match="No such container"):
        await engine.inspect(f"container-kit-{request.trail.sandbox_id}")
    await engine.close()


async def test_what_the_engine_does_not_answer_is_looked_for(image: str, tmp_path: Path) -> None:
    engine = Engine(tmp_path / "no-engine.sock")
    async with AsyncExitStack() as cleanup:
        with pytest.raises(EngineError):
            await _create(engine, request_for(image), cleanup)
    assert engine.may_have_left.is_set()
    await engine.close()

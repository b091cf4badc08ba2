"""Follows the engine's images: what is gone is forgotten, and so is what names meant before they changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from daemon.errors import EngineError
from daemon.images.gate import Examined
from daemon.sandbox.engine import Engine
from daemon.sandbox.host import HostState

RETRY_S = 5.0
ACTIONS = ("delete", "import", "load", "pull", "tag", "untag")

log = structlog.get_logger()


async def follow(engine: Engine, host: HostState, examination: Examined) -> None:
    """For as long as the daemon runs, through restarts of the engine."""
    while True:
        try:
            with suppress(EngineError):  # others say that it is away
                await _follow(engine, host, examination)
        except (OSError, ValueError) as error:
            log.warning("images are not followed", reason=str(error))
        await asyncio.sleep(RETRY_S)


async def _follow(engine: Engine, host: HostState, examination: Examined) -> None:
    """The subscription first, then what is there already: nothing falls between."""
    async with engine.events(ACTIONS, kind="image") as events:
        host.forget_images()
        examination.keep_only(await engine.image_ids())
        async for event in events:
            _hear(event, host, examination)


def _hear(event: dict[str, Any], host: HostState, examination: Examined) -> None:
    actor = event.get("Actor") or {}
    image_id, name = str(actor.get("ID")), str((actor.get("Attributes") or {}).get("name"))
    host.forget_changed(image_id, name)
    if event.get("Action") == "delete":
        examination.forget(image_id)

"""Judges the images that the policy names for profiles before anybody asks for them, so that no launch waits.

Again and again: a new database, a scan that has grown old and an image that has just come are found within
INTERVAL_S. What has been judged already costs a question to the engine and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from daemon.errors import EngineError, ImageNotFound, PolicyError

INTERVAL_S = 60.0

log = structlog.get_logger()

Check = Callable[[str, str], Awaitable[object]]
"""Of an image, for a profile. Raises ImageNotFound, EngineError, PolicyError."""


async def keep_warm(check: Check, named: list[tuple[str, str]], interval_s: float = INTERVAL_S) -> None:
    """For as long as the daemon runs. `named` are images, each with a profile; none needs to be here."""
    problems: dict[tuple[str, str], str] = {}
    while named:
        for image, profile in named:
            problem = await _warm(check, image, profile)
            if problem and problem != problems.get((image, profile)):
                log.warning("image not judged ahead", image=image, profile=profile, reason=problem)
            problems[image, profile] = problem
        await asyncio.sleep(interval_s)


async def _warm(check: Check, image: str, profile: str) -> str:
    """Why it could not be, if so."""
    try:
        await check(image, profile)
    except ImageNotFound:
        return ""
    except (EngineError, PolicyError) as error:
        return str(error)
    return ""

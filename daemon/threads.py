"""Blocking work whose end must be known, whatever becomes of who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec

P = ParamSpec("P")


async def to_its_end(do: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """As `asyncio.to_thread`, but a cancellation waits until it is done: what it made can then be undone."""
    working = asyncio.ensure_future(asyncio.to_thread(do, *args, **kwargs))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        with suppress(Exception):  # who is cancelled is told of nothing else
            await working
        raise

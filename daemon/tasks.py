"""Tasks whose errors and ends are told as their callers need them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import ParamSpec

P = ParamSpec("P")


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first error comes out as itself: callers tell errors apart by type."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


async def to_its_end(do: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """As `asyncio.to_thread`, but a cancellation waits until it is done: what it made can then be undone."""
    working = asyncio.ensure_future(asyncio.to_thread(do, *args, **kwargs))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        with suppress(Exception):  # who is cancelled is told of nothing else
            await working
        raise

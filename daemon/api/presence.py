"""Whether the client is still there: a request that waits must not outlive the one who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

LOOK_INTERVAL_S = 2.0


@asynccontextmanager
async def while_connected(request: web.Request) -> AsyncIterator[None]:
    """Cancels the block within seconds of the connection's end, and raises ConnectionResetError.

    The server could do so by itself, but to every handler, and one that acts has to act to the end.
    """
    deadline, ended = asyncio.timeout(None), asyncio.Event()
    try:
        async with deadline:
            _look(request, deadline, ended)
            yield
    except TimeoutError as error:
        if deadline.expired():
            raise ConnectionResetError("the client has gone") from error
        raise
    finally:
        ended.set()


def _look(request: web.Request, deadline: asyncio.Timeout, ended: asyncio.Event) -> None:
    """Again and again: the connection itself tells nobody that it is closed."""
    loop = asyncio.get_running_loop()
    if ended.is_set():
        return
    if request.transport is None:
        deadline.reschedule(loop.time())
    else:
        loop.call_later(LOOK_INTERVAL_S, _look, request, deadline, ended)

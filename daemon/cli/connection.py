"""From a click command to the async client and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from daemon.cli.client import Client

T = TypeVar("T")


def call(use: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `use` with a client of the socket that the command line names."""
    from daemon.cli.client import Client

    socket = str(click.get_current_context().find_root().params["socket"])

    async def main() -> T:
        async with Client(socket) as client:
            return await use(client)

    return asyncio.run(main())

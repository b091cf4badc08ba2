"""What a shell offers at the tab key: asked of the daemon, and nothing where it does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from click.shell_completion import CompletionItem

from daemon.cli.errors import CommandError
from daemon.cli.show import clean

DEADLINE_S = 2.0


def sandbox_ids(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    told = {
        item["id"]: f"{item['state']} {item['image']}" for item in _items(ctx, "/v1/sandboxes?limit=1000")
    }
    return _beginning(told, typed)


def profiles(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return _beginning({item["name"]: item["summary"] for item in _items(ctx, "/v1/profiles")}, typed)


def event_types(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    from daemon.audit.record import EventType

    return _beginning({str(one): "" for one in EventType}, typed)


def _beginning(told: dict[str, str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=clean(text)) for name, text in told.items() if name.startswith(typed)]


def _items(ctx: click.Context, path: str) -> list[dict[str, Any]]:
    from daemon.cli.client import Client

    async def ask() -> list[dict[str, Any]]:
        async with asyncio.timeout(DEADLINE_S), Client(str(ctx.find_root().params["socket"])) as client:
            return list((await client.get(path))["items"])

    try:
        return asyncio.run(ask())
    except (CommandError, TimeoutError, KeyError):
        return []

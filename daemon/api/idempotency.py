"""A request that is sent again, because its answer was lost, must not launch a second sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from daemon.api.access import Caller
from daemon.api.problem_types import INVALID_HEADER, KEY_REUSED
from daemon.api.problems import ApiError
from daemon.sandbox.sandbox import Registry, Sandbox

HEADER = "Idempotency-Key"
KEYS_A_CALLER = 10_000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Launch = Callable[[], Awaitable[Sandbox]]


@dataclass(frozen=True, slots=True)
class _Spent:
    body_digest: str
    sandbox_id: str


class IdempotencyKeys:
    """A caller's newest KEYS_A_CALLER keys, for as long as the daemon runs, and the ids of what they made."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._spent: dict[int, OrderedDict[str, _Spent]] = defaultdict(OrderedDict)
        self._under_way: dict[tuple[int, str], asyncio.Event] = {}

    async def once(self, request: web.Request, caller: Caller, launch: Launch) -> Sandbox:
        """`launch`, or the sandbox that this key launched before. A launch that failed has spent no key."""
        key = request.headers.get(HEADER)
        if key is None:
            return await launch()
        if _KEY.fullmatch(key) is None:
            raise ApiError(INVALID_HEADER, f"{HEADER}: 1 to 255 printable ASCII characters, no space")
        owned = (caller.actor.uid, key)
        while (other := self._under_way.get(owned)) is not None:
            await other.wait()
        digest = hashlib.sha256(await request.read()).hexdigest()
        if (spent := self._spent[caller.actor.uid].get(key)) is not None:
            return self._again(spent, digest)
        return await self._first(owned, digest, launch)

    async def _first(self, owned: tuple[int, str], digest: str, launch: Launch) -> Sandbox:
        ended = self._under_way[owned] = asyncio.Event()
        try:
            sandbox = await launch()
        finally:
            del self._under_way[owned]
            ended.set()
        uid, key = owned
        keys = self._spent[uid]
        keys[key] = _Spent(digest, sandbox.id)
        if len(keys) > KEYS_A_CALLER:
            keys.popitem(last=False)
        return sandbox

    def _again(self, spent: _Spent, digest: str) -> Sandbox:
        if spent.body_digest != digest:
            raise ApiError(KEY_REUSED, f"this {HEADER} came with another body: use a new key")
        sandbox = self._registry.get(spent.sandbox_id)
        if sandbox is None:
            raise ApiError(
                KEY_REUSED, f"this {HEADER} launched {spent.sandbox_id}, which is forgotten: use a new key"
            )
        return sandbox

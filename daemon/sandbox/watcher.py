"""What the launching half tells the watching half, and asks of it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from daemon.errors import ConfinementError
from daemon.expectation import Expectation
from daemon.sandbox.egress import EgressPolicy
from daemon.sandbox.resources import Exceeded


class Watcher(Protocol):
    def expect(self, sandbox: Expectation) -> None:
        """Before its first instruction: from now on every departure from this is a finding."""

    def began(self, container_id: str) -> asyncio.Future[int]:
        """The pid of the first process of an expected one, once our init is in its place, if that is seen."""

    def entering(self, container_id: str, *, allowed: bool) -> None:
        """The daemon itself starts one more program in it: between the two calls that is no finding."""

    async def confine(self, container_id: str, pid: int, policy: EgressPolicy) -> None:
        """Before its first instruction: in force when it returns. Raises ConfinementError."""

    def limited(self, container_id: str, pid: int, excess: Exceeded) -> None:
        """By the counters of its cgroup, which are sampled here; `pid` is its first process."""

    async def ending(self, container_id: str) -> None:
        """It runs no more, and is removed once this returns: what has to be read of it has been."""

    async def ended(self, container_id: str) -> list[dict[str, Any]]:
        """Once all that the sensors have seen of it was judged: its findings, as on the wire."""


class Unwatched:
    """Where the host has no sensor at all, and in tests of the launching half."""

    def expect(self, sandbox: Expectation) -> None:
        del sandbox

    def began(self, container_id: str) -> asyncio.Future[int]:
        del container_id
        return asyncio.get_running_loop().create_future()

    def entering(self, container_id: str, *, allowed: bool) -> None:
        del container_id, allowed

    async def confine(self, container_id: str, pid: int, policy: EgressPolicy) -> None:
        raise ConfinementError("the profile's egress list cannot be enforced: nothing watches sandboxes here")

    def limited(self, container_id: str, pid: int, excess: Exceeded) -> None:
        del container_id, pid, excess

    async def ending(self, container_id: str) -> None:
        del container_id

    async def ended(self, container_id: str) -> list[dict[str, Any]]:
        del container_id
        return []

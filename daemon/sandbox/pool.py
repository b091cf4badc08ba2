"""Spares: sandboxes that were created, started and attested ahead, each for one use.

A launch that asks for what one of them is, but for its command and variables, becomes that one: it is judged,
attested and recorded as any other, and waits for no engine. What cannot be had so is launched as ever. Spares
are of the kinds that the settings name, and of those that are launched again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Set
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from daemon import tracing
from daemon.errors import EngineError
from daemon.sandbox.checks import Subject
from daemon.sandbox.engine import SESSION_LABEL, Engine
from daemon.sandbox.farewell import has_ended
from daemon.sandbox.kind import Kind, Wanted, kind_of
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.preparation import Request, admit, arrival, begin
from daemon.sandbox.repeats import Repeats
from daemon.sandbox.sandbox import Sandbox
from daemon.sandbox.watcher import Watcher
from daemon.tasks import together

SPARE_LABEL = "container-kit.spare"
INTERVAL_S = 30.0
REST_S = 0.05
"""Who has just taken one has its first output by then."""
MAX_AGE_S = 1800.0
"""Its init would wait for twice as long."""

log = structlog.get_logger()

Place = int | Kind
"""In the settings, or of a kind that is launched again and again."""


@dataclass(eq=False)
class Spare:
    """It is its taker's from then on, with all that `cleanup` undoes."""

    sandbox: Sandbox
    kind: Kind
    cleanup: AsyncExitStack
    made_s: float = field(default_factory=time.monotonic)

    @property
    def usable(self) -> bool:
        young = time.monotonic() - self.made_s < MAX_AGE_S
        return young and not has_ended(self.sandbox.pidfd)


class Pool:
    """`request` judges options as a launch does, and raises where it would be refused."""

    def __init__(
        self,
        engine: Engine,
        request: Callable[[SandboxOptions], Awaitable[Request]],
    ) -> None:
        self.wanted: list[Wanted] = []
        """By the settings, besides what is launched again and again."""
        self.repeats = Repeats(0)
        self._engine = engine
        self._request = request
        self._spares: defaultdict[Place, list[Spare]] = defaultdict(list)
        self._configured: dict[Place, Kind | None] = {}
        self._in_hand: set[str] = set()
        self._news = asyncio.Event()
        self._problems: dict[Place, str] = {}

    @property
    def count(self) -> int:
        """Those that can be taken."""
        return sum(len(spares) for spares in self._spares.values())

    def holds(self, sandbox_id: str) -> bool:
        """Also while it is made, and while it passes to whoever took it."""
        waiting = (spare.sandbox.id for spares in self._spares.values() for spare in spares)
        return sandbox_id in self._in_hand or sandbox_id in waiting

    @contextmanager
    def in_hand(self, sandbox_id: str) -> Iterator[None]:
        self._in_hand.add(sandbox_id)
        try:
            yield
        finally:
            self._in_hand.discard(sandbox_id)

    def take(self, subject: Subject) -> Spare | None:
        """For a launch. It is out of the pool, and another will be made."""
        if (kind := kind_of(subject)) is None:
            return None
        if kind not in self._configured.values() and self.repeats.saw(kind, subject.options):
            self._news.set()
        for spares in self._spares.values():
            for spare in spares:
                if spare.kind == kind and spare.usable:
                    spares.remove(spare)
                    self._news.set()
                    return spare
        return None

    async def run(self, watcher: Watcher) -> None:
        """For as long as the daemon runs; then none is left."""
        try:
            while self.wanted or self.repeats.most:
                self._news.clear()
                wanted = self._all_wanted()
                await self._give_up(wanted.keys())
                for place, one in wanted.items():
                    await self._fill(place, one, watcher)
                await self._next_turn(INTERVAL_S if wanted else None)
        finally:
            for spares in self._spares.values():
                await _end(spares, lambda _: True)

    async def _give_up(self, wanted: Set[Place]) -> None:
        """All that is not wanted any more."""
        for place in (self._spares.keys() | self._problems.keys()) - wanted:
            self._problems.pop(place, None)
            await _end(self._spares.pop(place, []), lambda _: True)

    def _all_wanted(self) -> dict[Place, Wanted]:
        wanted: dict[Place, Wanted] = dict(enumerate(self.wanted))
        wanted.update(self.repeats.wanted().items())
        return wanted

    async def _next_turn(self, longest_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._news.wait()
                await asyncio.sleep(REST_S)

    async def _fill(self, place: Place, wanted: Wanted, watcher: Watcher) -> None:
        """One more, or none; never raises: what stands against it is told once."""
        problem = ""
        try:
            with tracing.span("sandbox.spare", {"container.image.name": wanted.options.image}):
                await self._add(place, wanted, watcher)
        except Exception as error:  # a spare's trouble is not the daemon's
            problem = str(error) or type(error).__name__
        if problem and problem != self._problems.get(place):
            log.warning("no spare", image=wanted.options.image, reason=problem)
        self._problems[place] = problem

    async def _add(self, place: Place, wanted: Wanted, watcher: Watcher) -> None:
        """Those that are no longer what is asked for go: another image has the name, or they have ended."""
        request = await self._request(wanted.options)
        kind, spares = kind_of(request.subject), self._spares[place]
        if isinstance(place, int):
            self._configured[place] = kind
        await _end(spares, lambda spare: spare.kind != kind or not spare.usable)
        if kind is not None and len(spares) < wanted.count:
            spares.append(await self._made(request, kind, watcher))
            self._news.set()  # until there are enough

    async def _made(self, request: Request, kind: Kind, watcher: Watcher) -> Spare:
        request = _without_command(request)
        with self.in_hand(request.trail.sandbox_id):
            async with AsyncExitStack() as cleanup:
                async with together() as tasks:
                    begun = await begin(self._engine, watcher, request, cleanup, tasks)
                    pid = await arrival(self._engine, watcher, request, begun)
                    sandbox = await admit(request, begun, pid, cleanup)
                return Spare(sandbox, kind, cleanup.pop_all())  # the start is through: nothing can fail now


def _without_command(request: Request) -> Request:
    """Labelled as a spare: one that a killed daemon leaves is no launch that failed."""
    body: dict[str, Any] = {**request.subject.body, "Cmd": []}
    labels = {name: value for name, value in request.labels.items() if name != SESSION_LABEL}
    return replace(
        request, subject=replace(request.subject, body=body), labels=labels | {SPARE_LABEL: "true"}
    )


async def _end(spares: list[Spare], ends: Callable[[Spare], bool]) -> None:
    for spare in [spare for spare in spares if ends(spare)]:
        spares.remove(spare)
        try:
            await spare.cleanup.aclose()
        except EngineError as error:  # it is looked for until it is gone: see is_leftover
            log.warning("spare not removed", container=spare.sandbox.container_id, reason=str(error))

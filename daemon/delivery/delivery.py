"""One exporter's way through the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import structlog

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.delivery.backoff import Backoff
from daemon.delivery.cursor import Cursor
from daemon.delivery.dead_letters import DeadLetters
from daemon.errors import ExportError
from exporters import Exporter, Options

EXPORT_DEADLINE_S = 120.0
PROBLEM_LIMIT = 500

log = structlog.get_logger()


class Log(Protocol):
    """What is needed of the audit log."""

    @property
    def newest(self) -> int: ...

    async def read(self, after: int, limit: int, limit_bytes: int) -> list[SecurityAuditEvent]: ...

    async def wait_beyond(self, seq: int) -> None: ...


@dataclass(slots=True)
class State:
    """Counts are since the start of the daemon, and of events; the positions are numbers of the log."""

    name: str
    kind: str
    status: Literal["idle", "delivering", "failing"] = "idle"
    cursor: int = 0
    delivered: int = 0
    refused: int = 0
    missed: int = 0
    """Gone from the log before they could be read."""
    errors: int = 0
    problem: str = ""
    failing_since: datetime | None = None
    oldest_waiting: datetime | None = None


class Delivery:
    """Holds one batch in memory. `failed` is awaited once an outage, with the reason.

    `due_s` says how long until the exporter is to be called without an event: its batch is empty then.
    """

    def __init__(
        self,
        exporter: Exporter,
        options: Options,
        audit: Log,
        folder: Path,
        failed: Callable[[Delivery, str], Awaitable[None]],
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        due_s: Callable[[], float | None] = lambda: None,
        deadline_s: float = EXPORT_DEADLINE_S,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.options = options
        self.state = State(options.name, options.kind)
        self._exporter, self._audit, self._failed = exporter, audit, failed
        self._backoff, self._sleep = backoff or Backoff(), sleep
        self._due_s, self._deadline_s = due_s, deadline_s
        self._cursor = Cursor(folder / "cursor")
        self._dead = DeadLetters(folder / "dead-letters.jsonl")
        self._unsure: deque[int] = deque(maxlen=options.resend_events + 1)
        self._position = self._begin()
        self._unsure.append(self._position)
        self.state.cursor = self._position

    def _begin(self) -> int:
        if self._cursor.new:
            return self._audit.newest if self.options.start == "newest" else 0
        if self._cursor.seq > self._audit.newest:
            log.warning("cursor is ahead of the log: from the start", exporter=self.options.name)
            return 0
        return self._cursor.seq

    @property
    def read_up_to(self) -> int:
        """What the receiver has for good: an event up to there is never asked for again."""
        begin = self._unsure[0]
        return begin if self._cursor.new else min(begin, self._cursor.seq)

    @property
    def lag_events(self) -> int:
        return max(0, self._audit.newest - self._position)

    @property
    def lag_s(self) -> float:
        """The age of the oldest event that is known to wait."""
        oldest = self.state.oldest_waiting
        return max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else 0.0

    async def run(self) -> None:
        """Until cancelled. What an exporter raises is its outage, never the daemon's."""
        while True:
            self.state.status = "failing" if self.state.problem else "idle"
            with suppress(TimeoutError):
                async with asyncio.timeout(self._due_s()):
                    await self._audit.wait_beyond(self._position)
            await self.step()

    async def step(self) -> None:
        """One batch: delivered, or a wait before it is tried again."""
        batch: list[SecurityAuditEvent] = []
        try:
            limits = self.options.batch_events, self.options.batch_bytes
            batch = await self._audit.read(self._position, *limits)
            await self._deliver([event for event in batch if self.options.wants(event)])
            await self._advance(batch)
        except Exception as error:  # a plug-in may raise anything, and the disk may be full
            await self._outage(batch, error)

    async def _deliver(self, events: Sequence[SecurityAuditEvent]) -> None:
        """All but those that the receiver refuses even alone. Raises what is not a refusal."""
        if not events and self._due_s() is None:
            return
        self.state.status = "failing" if self.state.problem else "delivering"
        self.state.oldest_waiting = events[0].timestamp if events else None
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._exporter.export(events)
        except ExportError as error:
            if error.retryable:
                raise
            await self._split(events, error)
        else:
            self.state.delivered += len(events)

    async def _split(self, events: Sequence[SecurityAuditEvent], error: ExportError) -> None:
        if len(events) == 1:
            await asyncio.to_thread(self._dead.add, events[0], str(error))
            self.state.refused += 1
            log.error("receiver refused an event", exporter=self.options.name, id=events[0].id)
            return
        middle = len(events) // 2
        await self._deliver(events[:middle])
        await self._deliver(events[middle:])

    async def _advance(self, batch: Sequence[SecurityAuditEvent]) -> None:
        if batch:
            self.state.missed += batch[-1].seq - self._position - len(batch)
            self._unsure.extend(event.seq for event in batch)
            await asyncio.to_thread(self._cursor.store, self._unsure[0])
            self._position = batch[-1].seq
        self.state.cursor = self._position
        self.state.oldest_waiting = None
        self.state.problem, self.state.failing_since = "", None
        self._backoff.reset()

    async def _outage(self, batch: Sequence[SecurityAuditEvent], error: Exception) -> None:
        first = not self.state.problem
        self.state.status, self.state.errors = "failing", self.state.errors + 1
        self.state.problem = (str(error) or type(error).__name__)[:PROBLEM_LIMIT]
        if first:
            self.state.failing_since = datetime.now(UTC)
            log.warning("exporter fails", exporter=self.options.name, reason=self.state.problem)
            await self._tell(batch)
        self._rewind()
        await self._sleep(self._backoff.next_s())

    async def _tell(self, batch: Sequence[SecurityAuditEvent]) -> None:
        """Not of a batch that holds nothing but such news: it would go round in circles."""
        if all(event.event_type is EventType.EXPORTER_FAILED for event in batch) and batch:
            return
        await self._failed(self, self.state.problem)

    def _rewind(self) -> None:
        """To the first event of which the receiver may not know: what was on its connection is gone."""
        self._position = self._unsure[0]
        self._unsure.clear()
        self._unsure.append(self._position)

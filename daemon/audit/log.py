"""The audit log: JSON lines, each on the disk before anybody is told that it happened."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError

from daemon.audit.allocation import allocate, make_room
from daemon.audit.appending import Appending
from daemon.audit.key import SigningKey
from daemon.audit.opening import opened
from daemon.audit.reading import Reader
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.reserve import FULL, Reserve
from daemon.audit.segments import LINE_LIMIT_BYTES, prepared_path, reserve_path, segment_path
from daemon.audit.writable import writable
from daemon.errors import AuditError
from daemon.findings import Severity

REMEMBERED = 10_000
SEGMENT_BYTES = 64 << 20
RESERVE_BYTES = 1 << 20
WAITING_LIMIT_BYTES = 16 << 20
HEAD = "checkpoint"
"""The file beside the log that holds the newest note: what is cut off behind it is missed."""

log = structlog.get_logger()


class AuditLog:
    """`record` returns when the event is durable; events recorded meanwhile share one fdatasync(2).

    The newest REMEMBERED events are kept in memory for `since` and `follow`. `path` is that of the first
    segment and stands for all; one of `segment_bytes` is sealed by the next checkpoint.
    """

    def __init__(
        self, path: Path, segment_bytes: int = SEGMENT_BYTES, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        self.path = path
        found = opened(path)
        self._lock = found.lock
        self.last_written = found.last_written
        """Before this one was opened: the last sign of life of an earlier daemon."""
        self._seq = self._written = found.seq
        self._reader = Reader(path)
        self.torn_bytes = found.torn_bytes
        """What a crash had left of a line that nobody was told of, and that was cut off now."""
        self._tree = found.tree
        self._checkpointed = 0
        """Lines under the last checkpoint, itself included."""
        self._unsealed = asyncio.Event()
        self._recent: deque[SecurityAuditEvent] = deque(maxlen=REMEMBERED)
        self._batch: list[bytes] = []
        self._unpublished: list[SecurityAuditEvent] = []
        self._waiting_bytes = 0
        self._segment_bytes = segment_bytes
        self._room_bytes = segment_bytes + segment_bytes // 8
        """It grows on until the next checkpoint."""
        self._committing = asyncio.Lock()
        with suppress(OSError):  # the disk is nearly full, or its file system cannot: it does without
            allocate(found.segment, self._room_bytes)
        self._appending = Appending(found.segment, found.lock)
        self._reserve = Reserve(reserve_path(path), reserve_bytes)
        self._short = False
        """The disk is full, and the reserve in use."""
        self._regaining = asyncio.Lock()
        make_room(prepared_path(path), self._room_bytes)
        self._news = asyncio.Event()
        self.on_record: Callable[[SecurityAuditEvent], None] = lambda _: None
        self.tolerant = False
        self.on_failure: Callable[[AuditError], None] = lambda _: None
        self.on_commit: Callable[[float], None] = lambda _: None
        """Told how many seconds the disk took for a batch."""
        self.on_segment: Callable[[Path], None] = lambda _: None
        """Told of each new one."""

    async def record(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        """Raises AuditError when the disk refuses it, or has taken it on the reserve: what it is about must
        then not happen.

        Unless `tolerant`: then it returns, and the event is written once there is room, or lost beyond
        WAITING_LIMIT_BYTES.
        """
        try:
            await self._regain()
            kept = await self.tell(event)
            self._require_room()
            return kept
        except AuditError as error:
            self.on_failure(error)
            if not self.tolerant:
                raise
            return event

    async def tell(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        """What has happened whatever the log says: it is durable as well when it is on the reserve.

        Raises AuditError.
        """
        await self._make_room()
        return await self._keep(self._take(event))

    async def unsealed(self) -> None:
        """Returns once there are lines that no checkpoint stands for, written or yet to be."""
        await self._unsealed.wait()

    async def checkpoint(self, key: SigningKey) -> None:
        """One more line that stands for all before it, if there are new ones. Raises AuditError.

        In a segment that is full it is the last one, and says how the tree goes on.
        """
        if self._tree.size == self._checkpointed:
            return
        await self._make_room()
        async with self._committing:
            note, full = key.sign(self._tree.size, self._tree.root()), self._full()
            event = self._take(_checkpoint(note, self._tree.peaks if full else None))
            self._checkpointed = self._tree.size
            self._unsealed.clear()
            await self._commit()
            sealed = full and await self._rotate(event.seq + 1)
        await asyncio.to_thread(self._write_head, note)
        if not (self._reserve.held or self._short):
            await asyncio.to_thread(self._reserve.take)
        if sealed:
            await asyncio.to_thread(make_room, prepared_path(self.path), self._room_bytes)

    def _full(self) -> bool:
        return self._appending.size_bytes + self._waiting_bytes >= self._segment_bytes

    async def _rotate(self, first: int) -> bool:
        """False where there can be no new segment: then the old one grows on, until a later checkpoint."""
        fresh = segment_path(self.path, first)
        try:
            await self._appending.rotate(prepared_path(self.path), fresh)
        except OSError as error:
            log.warning("no new segment of the audit log", reason=error.strerror)
            return False
        self.on_segment(fresh)
        return True

    async def _make_room(self) -> None:
        if self._waiting_bytes > WAITING_LIMIT_BYTES:
            async with self._committing:
                await self._commit()  # what waits already, or nothing more is taken

    def _take(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        """Its number, its place in the tree and its place among those that wait for the disk: all one."""
        event, line = _line(event.model_copy(update={"seq": self._seq + 1}))
        self._seq += 1
        self._tree.append(line)
        self._unsealed.set()
        self._batch.append(line + b"\n")
        self._unpublished.append(event)
        self._waiting_bytes += len(self._batch[-1])
        return event

    async def _keep(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        # Whoever gets the lock first commits for all who came by then; they find their events written, and
        # leave those that came later to one of them. A failed commit leaves its lines for the next to try.
        async with self._committing:
            if event.seq > self._written:
                await self._commit()
        return event

    async def _commit(self) -> None:
        """Raises AuditError."""
        try:
            await self._write()
        except OSError as error:
            await self._write_on_reserve(error)

    async def _write_on_reserve(self, full: OSError) -> None:
        """What waits, and that the disk is full. Raises AuditError."""
        if full.errno not in FULL or not self._reserve.give_back():
            raise self._failed(full) from full
        self._short = True
        self._take(_own(EventType.AUDIT_FAILED, Severity.CRITICAL, reason=full.strerror))
        try:
            await self._write()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> AuditError:
        return AuditError(f"{self.path}: cannot be written: {error.strerror}; free space or repair the disk")

    def _require_room(self) -> None:
        if self._short:
            reason = os.strerror(errno.ENOSPC)
            raise AuditError(f"{self.path}: {reason}: it was written on the last reserve; free space")

    async def _regain(self) -> None:
        """Once there is room for a reserve again, all is well. Raises AuditError."""
        if not self._short or self._regaining.locked():
            return
        async with self._regaining:
            if await asyncio.to_thread(self._reserve.take):
                self._short = False
                reason = "the disk was full, and has room again"
                await self._keep(self._take(_own(EventType.AUDIT_RECOVERED, Severity.MEDIUM, reason=reason)))

    async def _write(self) -> None:
        """Raises OSError."""
        count, newest = len(self._batch), self._seq
        data, begin_s = b"".join(self._batch), time.monotonic()
        await self._appending.append(data)
        del self._batch[:count]
        self._written = newest
        self._waiting_bytes -= len(data)
        self._publish(count)
        self.on_commit(time.monotonic() - begin_s)

    def _write_head(self, note: str) -> None:
        """For who verifies: so many lines there were. Lost in a crash, an older one serves as well."""
        head = self.path.with_name(HEAD)
        with suppress(OSError):  # the log itself has it, and is what says that the disk is full
            head.with_suffix(".new").write_text(note, encoding="utf-8")
            head.with_suffix(".new").replace(head)

    def _publish(self, count: int) -> None:
        """In their order: who follows must not hear of a later one first."""
        published, self._unpublished = self._unpublished[:count], self._unpublished[count:]
        self._recent.extend(published)
        for event in published:
            self.on_record(event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def newest(self) -> int:
        """The number of the last event that was given one."""
        return self._seq

    @property
    def oldest_remembered(self) -> int:
        """`since` and `follow` have no earlier one; those are in the file."""
        return self._recent[0].seq if self._recent else self._written + 1

    def since(self, seq: int) -> list[SecurityAuditEvent]:
        """Remembered events after `seq`, oldest first."""
        return [event for event in self._recent if event.seq > seq]

    async def follow(self, seq: int) -> AsyncIterator[SecurityAuditEvent]:
        """The same, and then each new one as it becomes durable. Ends with its consumer."""
        while True:
            news = self._news
            for event in self.since(seq):
                seq = event.seq
                yield event
            await news.wait()

    async def read(self, after: int, limit: int, limit_bytes: int = sys.maxsize) -> list[SecurityAuditEvent]:
        """Durable events after that number, in order: within both limits, but one at least."""
        return await asyncio.to_thread(self._reader.read, after, limit, self._written, limit_bytes)

    async def wait_beyond(self, seq: int) -> None:
        """Until an event after that number is durable."""
        while self._written <= seq:
            await self._news.wait()

    def close(self) -> None:
        self._appending.close()
        os.close(self._lock)


def _line(event: SecurityAuditEvent) -> tuple[SecurityAuditEvent, bytes]:
    try:
        line = event.model_dump_json(exclude_none=True).encode()
    except PydanticSerializationError:
        event = writable(event)
        line = event.model_dump_json(exclude_none=True).encode()
    if len(line) > LINE_LIMIT_BYTES:
        cut = {
            "cut": f"an event of {len(line)} bytes was too long to record",
            "sha256": sha256(line).hexdigest(),
        }
        line = event.model_copy(update={"details": cut}).model_dump_json(exclude_none=True).encode()
    return event, line


def _checkpoint(note: str, peaks: list[bytes] | None) -> SecurityAuditEvent:
    sealing = {} if peaks is None else {"peaks": [peak.hex() for peak in peaks]}
    return _own(EventType.AUDIT_CHECKPOINT, Severity.LOW, checkpoint=note, **sealing)


def _own(event_type: EventType, severity: Severity, **details: Any) -> SecurityAuditEvent:
    """Of the log itself."""
    return SecurityAuditEvent(
        session_id="daemon", event_type=event_type, severity=severity, action="recorded", details=details
    )

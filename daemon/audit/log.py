"""The audit log: JSON lines, each on the disk before anybody is told that it happened."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from daemon.audit.appending import Appending
from daemon.audit.key import SigningKey
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.tree import Tree
from daemon.audit.writable import writable
from daemon.errors import AuditError
from daemon.findings import Severity

REMEMBERED = 10_000
WAITING_LIMIT_BYTES = 16 << 20
LINE_LIMIT_BYTES = 64 * 1024
LOCK_DEADLINE_S = 2.0
"""The writing process of a daemon that was killed holds the lock until its last batch is on the disk."""
HEAD = "checkpoint"
"""The file beside the log that holds the newest note: what is cut off behind it is missed."""


class AuditLog:
    """`record` returns when the event is durable; events recorded meanwhile share one fdatasync(2).

    The newest REMEMBERED events are kept in memory for `since` and `follow`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(
                f"{path}: the audit log cannot be opened: {error.strerror}; check the state_dir"
            ) from error
        _lock(path, self._file)
        self.last_written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        """Before this one was opened: the last sign of life of an earlier daemon."""
        self._seq = self._durable = self._written = _last_seq(path)
        self._offsets: dict[int, int] = {}
        self.torn_bytes = _end_torn_line(path, self._file)
        """What a crash had left of a line that nobody was told of, and that was cut off now."""
        self._tree = _tree_of(path)
        self._checkpointed = 0
        """Lines under the last checkpoint, itself included."""
        self._recent: deque[SecurityAuditEvent] = deque(maxlen=REMEMBERED)
        self._batch: list[bytes] = []
        self._waiting_bytes = 0
        self._committing = asyncio.Lock()
        self._appending = Appending(self._file)
        self._news = asyncio.Event()
        self.on_record: Callable[[SecurityAuditEvent], None] = lambda _: None
        self.tolerant = False
        self.on_failure: Callable[[AuditError], None] = lambda _: None
        self.on_commit: Callable[[float], None] = lambda _: None
        """Told how many seconds the disk took for a batch."""

    async def record(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        """Raises AuditError when the disk refuses it: what it is about must then not happen.

        Unless `tolerant`: then it returns, and the event is written once there is room, or lost beyond
        WAITING_LIMIT_BYTES.
        """
        try:
            await self._make_room()
            return await self._keep(self._take(event))
        except AuditError as error:
            self.on_failure(error)
            if not self.tolerant:
                raise
            return event

    async def checkpoint(self, key: SigningKey) -> None:
        """One more line that stands for all before it, if there are new ones. Raises AuditError."""
        if self._tree.size == self._checkpointed:
            return
        await self._make_room()
        note = key.sign(self._tree.size, self._tree.root())
        event = self._take(_checkpoint(note))
        self._checkpointed = self._tree.size
        await self._keep(event)
        await asyncio.to_thread(self._write_head, note)

    async def _make_room(self) -> None:
        if self._waiting_bytes > WAITING_LIMIT_BYTES:
            async with self._committing:
                await self._commit()  # what waits already, or nothing more is taken

    def _take(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        """Its number, its place in the tree and its place among those that wait for the disk: all one."""
        event, line = _line(event.model_copy(update={"seq": self._seq + 1}))
        self._seq += 1
        self._tree.append(line)
        self._batch.append(line + b"\n")
        self._waiting_bytes += len(self._batch[-1])
        return event

    async def _keep(self, event: SecurityAuditEvent) -> SecurityAuditEvent:
        # Whoever gets the lock first commits for all who came by then; they find their events written, and
        # leave those that came later to one of them. A failed commit leaves its lines for the next to try.
        async with self._committing:
            if event.seq > self._written:
                await self._commit()
        self._publish(event)
        return event

    async def _commit(self) -> None:
        """Raises AuditError."""
        count, newest = len(self._batch), self._seq
        data, begin_s = b"".join(self._batch), time.monotonic()
        try:
            await self._appending.append(data)
        except OSError as error:
            raise AuditError(
                f"{self.path}: cannot be written: {error.strerror}; free space or repair the disk"
            ) from error
        del self._batch[:count]
        self._written = newest
        self._waiting_bytes -= len(data)
        self.on_commit(time.monotonic() - begin_s)

    def _write_head(self, note: str) -> None:
        """For who verifies: so many lines there were. Lost in a crash, an older one serves as well."""
        head = self.path.with_name(HEAD)
        with suppress(OSError):  # the log itself has it, and is what says that the disk is full
            head.with_suffix(".new").write_text(note, encoding="utf-8")
            head.with_suffix(".new").replace(head)

    def _publish(self, event: SecurityAuditEvent) -> None:
        self._recent.append(event)
        self._durable = max(self._durable, event.seq)
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
        return min((event.seq for event in self._recent), default=self._seq + 1)

    def since(self, seq: int) -> list[SecurityAuditEvent]:
        """Remembered events after `seq`, oldest first."""
        return sorted((event for event in self._recent if event.seq > seq), key=lambda event: event.seq)

    async def follow(self, seq: int) -> AsyncIterator[SecurityAuditEvent]:
        """The same, and then each new one as it becomes durable. Ends with its consumer."""
        while True:
            news = self._news
            for event in self.since(seq):
                seq = event.seq
                yield event
            await news.wait()

    async def read(self, after: int, limit: int) -> list[SecurityAuditEvent]:
        """Durable events after that number, in order, at most `limit`."""
        return await asyncio.to_thread(self._read, after, limit, self._durable)

    async def wait_beyond(self, seq: int) -> None:
        """Until an event after that number is durable."""
        while self._durable <= seq:
            await self._news.wait()

    def _read(self, after: int, limit: int, newest: int) -> list[SecurityAuditEvent]:
        found: list[SecurityAuditEvent] = []
        with self.path.open("rb") as log:
            log.seek(self._offsets.pop(after, 0))
            while len(found) < limit and (line := log.readline(2 * LINE_LIMIT_BYTES)):
                with suppress(ValidationError):  # a torn line
                    event = SecurityAuditEvent.model_validate_json(line)
                    if event.seq > newest:
                        break
                    if event.seq > after:
                        found.append(event)
            if found and len(self._offsets) < 64 and found[-1].seq <= newest:
                self._offsets[found[-1].seq] = log.tell() if len(found) == limit else 0
        return found

    def close(self) -> None:
        self._appending.close()
        os.close(self._file)


def _lock(path: Path, file: int) -> None:
    """Two writers would give one number to two events, and end each other's sandboxes."""
    deadline_s = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline_s:
                os.close(file)
                message = f"{path}: another daemon writes it: stop it, or set another state_dir"
                raise AuditError(message) from error
            time.sleep(0.05)


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


def _checkpoint(note: str) -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id="daemon",
        event_type=EventType.AUDIT_CHECKPOINT,
        severity=Severity.LOW,
        action="recorded",
        details={"checkpoint": note},
    )


def _tree_of(path: Path) -> Tree:
    tree = Tree()
    with path.open("rb") as log:
        for line in log:
            tree.append(line.removesuffix(b"\n"))
    return tree


def _last_seq(path: Path) -> int:
    """From the last whole line; 0 for a new log. Raises AuditError where there is none at the end of it."""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 2 * LINE_LIMIT_BYTES))
        tail = log.read()
    for line in reversed(tail.splitlines()):
        with suppress(ValidationError):
            return SecurityAuditEvent.model_validate_json(line).seq
    if tail:
        raise AuditError(f"{path}: ends with no audit event: move it away, and find out who wrote to it")
    return 0


def _end_torn_line(path: Path, file: int) -> int:
    """What a crash left of a line, which nobody was told of, is cut off. Returns its size in bytes.

    An append-only file (chattr +a) keeps it, and the next line begins anew.
    """
    size = path.stat().st_size
    with path.open("rb") as log:
        log.seek(max(0, size - 4 * LINE_LIMIT_BYTES))
        torn = len(log.read().rpartition(b"\n")[2])
    if torn:
        try:
            os.ftruncate(file, size - torn)
        except PermissionError:
            os.write(file, b"\n")
    return torn

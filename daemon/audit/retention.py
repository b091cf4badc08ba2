"""Retention: which sealed segments are deleted, and what is left of them.

Oldest first, and only what its closing checkpoint stands for: what was tampered with is kept, and told of.
A crash at any point leaves a segment that is retired anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from daemon.audit import tombstone
from daemon.audit.key import SigningKey
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.segments import (
    Segment,
    history,
    last_line,
    lines,
    segments,
    seq_of,
    sync_folder,
    tombstone_path,
)
from daemon.audit.tombstone import Tombstone
from daemon.audit.tree import Tree, leaf_hash
from daemon.audit.verify import CHECKPOINT_MARK, note_of
from daemon.errors import AuditError
from daemon.findings import Severity

INTERVAL_S = 2.0
CHUNK_LINES, PAUSE_S = 256, 0.001
"""Hashing holds the interpreter: so the event loop gets its turn in between."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """0 is none. Beyond `keep` a segment goes once every reader has it, beyond `limit` in any case."""

    keep_bytes: int = 0
    keep_days: int = 0
    limit_bytes: int = 0
    limit_days: int = 0

    def reason(self, size_bytes: int, age: timedelta, *, read: bool) -> str | None:
        """Why the oldest segment goes, of so many bytes of segments; None, and it stays."""
        if _beyond(size_bytes, self.limit_bytes) or _beyond(age, self.limit_days):
            return "beyond the limit" if read else "beyond the limit, and not read by all"
        if read and (_beyond(size_bytes, self.keep_bytes) or _beyond(age, self.keep_days)):
            return "kept for long enough, and read by all"
        return None


def _beyond(found: int | timedelta, limit: int) -> bool:
    return limit > 0 and (found > timedelta(days=limit) if isinstance(found, timedelta) else found > limit)


class Retention:
    """`read_up_to` gives the number of the last event that every exporter and channel of alerts has."""

    def __init__(
        self, audit: AuditLog, key: SigningKey, limits: Limits, read_up_to: Callable[[], int]
    ) -> None:
        self._audit, self._key, self._limits, self._read_up_to = audit, key, limits, read_up_to
        self._before = 1, Tree()
        """The tree before the segment that begins with that event."""
        self._refused: Path | None = None
        self._problem = ""
        self.on_delete: Callable[[Path], None] = lambda _: None
        """Told just before."""

    async def run(self) -> None:
        """Until cancelled, if there is a limit at all."""
        while self._limits != Limits():
            try:
                await self.step()
                self._problem = ""
            except (AuditError, OSError) as error:
                self._warn(str(error))
            await asyncio.sleep(INTERVAL_S)

    def _warn(self, problem: str) -> None:
        """Once, not every two seconds."""
        if problem != self._problem:
            self._problem = problem
            log.warning("no segment of the audit log was retired", reason=problem)

    async def step(self) -> None:
        """Whatever is due. Raises AuditError or OSError, and what is left of it is due the next time."""
        while (due := await asyncio.to_thread(self._due)) is not None:
            await self._retire(*due)

    def _due(self) -> tuple[Segment, str] | None:
        found = segments(self._audit.path)
        if len(found) < 2 or found[0].path == self._refused:
            return None
        size_bytes = sum(segment.path.stat().st_size for segment in found)
        age = datetime.now(UTC) - _written(found[0].path)
        read = found[1].first - 1 <= self._read_up_to()
        reason = self._limits.reason(size_bytes, age, read=read)
        return (found[0], reason) if reason else None

    async def _retire(self, segment: Segment, reason: str) -> None:
        size_bytes = segment.path.stat().st_size
        try:
            stone = await asyncio.to_thread(self._tombstone, segment, reason)
        except AuditError as error:
            self._refused = segment.path
            await self._tell("refused", Severity.CRITICAL, {"first": segment.first, "reason": str(error)})
            raise
        path = tombstone_path(self._audit.path, segment.first)
        await asyncio.to_thread(_write, path, stone.note(self._key))
        details = {
            "first": stone.first,
            "last": stone.last,
            "lines": stone.lines,
            "bytes": size_bytes,
            "reason": reason,
            "tombstone_sha256": tombstone.digest(path),
        }
        await self._tell("deleted", Severity.MEDIUM, details)
        self.on_delete(segment.path)
        await asyncio.to_thread(self._delete, segment.path)
        self._before = stone.last + 1, _behind(stone, self._before[1])

    async def _tell(self, action: str, severity: Severity, details: dict[str, object]) -> None:
        await self._audit.tell(
            SecurityAuditEvent(
                session_id="daemon",
                event_type=EventType.AUDIT_RETIRED,
                severity=severity,
                action=action,
                details=details,
            )
        )

    def _tombstone(self, segment: Segment, reason: str) -> Tombstone:
        """Raises AuditError unless the segment is what was signed."""
        if self._before[0] != segment.first:
            self._before = segment.first, self._tree_before(segment)
        before, last = self._before[1], last_line(segment.path)
        stone = tombstone.made(
            (segment.first, seq_of(last)), _up_to_checkpoints(segment.path), before, datetime.now(UTC), reason
        )
        self._require_signed(stone, before.copy(), last, segment.path)
        return stone

    def _tree_before(self, segment: Segment) -> Tree:
        """What is before the oldest segment is retired: the last tombstone tells it, or all of them do."""
        tree, verifier = Tree(), self._key.verifier
        parts = [part for part in history(self._audit.path) if part.first < segment.first]
        if parts and (behind := tombstone.tree_behind(parts[-1].path, verifier)) is not None:
            return behind
        for part in parts:
            for _ in tombstone.read(part.path, verifier).grow(tree):
                pass
        return tree

    def _require_signed(self, stone: Tombstone, tree: Tree, last: bytes, path: Path) -> None:
        """Its last subtree is its last line, the checkpoint of all before."""
        for level, root in stone.subtrees[:-1]:
            tree.graft(level, bytes.fromhex(root))
        closing = self._key.verifier.open(note_of(last) or "")
        if (closing.size, closing.root) != (tree.size, tree.root()):
            raise AuditError(f"{path}: not what was signed, so it is not deleted: run `audit verify`")

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError:
            self._refused = path
            raise
        sync_folder(path.parent)


def _written(segment: Path) -> datetime:
    """When its last event happened. Raises AuditError."""
    try:
        return datetime.fromisoformat(json.loads(last_line(segment))["timestamp"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AuditError(f"{segment}: ends with no audit event: run `audit verify`") from error


def _up_to_checkpoints(segment: Path) -> Iterator[list[bytes]]:
    leaves: list[bytes] = []
    for number, line in enumerate(lines(segment)):
        if leaves and CHECKPOINT_MARK in line and note_of(line) is not None:
            yield leaves
            leaves = []
        leaves.append(leaf_hash(line))
        if number % CHUNK_LINES == 0:
            time.sleep(PAUSE_S)
    yield leaves


def _behind(stone: Tombstone, tree: Tree) -> Tree:
    for _ in stone.grow(tree):
        pass
    return tree


def _write(path: Path, note: str) -> None:
    """Durable when it returns."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)

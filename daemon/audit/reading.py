"""Events of the log by their numbers, for who follows it at his own pace."""

from __future__ import annotations

import sys
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from daemon.audit.record import SecurityAuditEvent
from daemon.audit.segments import LINE_LIMIT_BYTES, Segment, segments, seq_of

PLACES_LIMIT = 64


class Reader:
    """Remembers where the newest readers were, so that each goes on without a search."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._places: OrderedDict[int, tuple[Path, int]] = OrderedDict()
        """By the number of an event: its segment, and the offset behind it."""

    def read(
        self, after: int, limit: int, newest: int, limit_bytes: int = sys.maxsize
    ) -> list[SecurityAuditEvent]:
        """Events after one number and up to another, in order. Those of retired segments are passed over.

        No more than `limit_bytes` of their lines, but one event at least.
        """
        found = _Batch(limit, limit_bytes)
        for segment in _from(segments(self._log), after):
            with suppress(FileNotFoundError):  # retired this moment
                self._read(segment.path, after, newest, found)
            if found.full or (found.events and found.events[-1].seq >= newest):
                break
        return found.events

    def _read(self, segment: Path, after: int, newest: int, found: _Batch) -> None:
        offset = 0
        with segment.open("rb") as log:
            log.seek(self._offset(segment, after))
            while not found.full and (line := log.readline(2 * LINE_LIMIT_BYTES)):
                if 0 < seq_of(line) <= after or not found.has_room(line):
                    continue
                with suppress(ValidationError):  # a torn line
                    event = SecurityAuditEvent.model_validate_json(line)
                    if event.seq > newest:
                        break
                    if event.seq > after:
                        found.add(event, line)
                        offset = log.tell()
        if offset:
            self._remember(found.events[-1].seq, segment, offset)

    def _offset(self, segment: Path, after: int) -> int:
        path, offset = self._places.get(after, (segment, 0))
        return offset if path == segment else 0

    def _remember(self, seq: int, segment: Path, offset: int) -> None:
        self._places[seq] = segment, offset
        if len(self._places) > PLACES_LIMIT:
            self._places.popitem(last=False)


@dataclass(slots=True)
class _Batch:
    limit: int
    limit_bytes: int
    events: list[SecurityAuditEvent] = field(default_factory=list)
    size_bytes: int = 0
    full: bool = False

    def has_room(self, line: bytes) -> bool:
        """Where not, it is full."""
        self.full = bool(self.events) and self.size_bytes + len(line) > self.limit_bytes
        return not self.full

    def add(self, event: SecurityAuditEvent, line: bytes) -> None:
        self.events.append(event)
        self.size_bytes += len(line)
        self.full = len(self.events) >= self.limit


def _from(found: list[Segment], after: int) -> list[Segment]:
    """From the one on that holds the event after that number."""
    earlier = [index for index, segment in enumerate(found) if segment.first <= after + 1]
    return found[earlier[-1] if earlier else 0 :]

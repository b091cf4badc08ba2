"""Events of the log by their numbers, for who follows it at his own pace."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
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

    def read(self, after: int, limit: int, newest: int) -> list[SecurityAuditEvent]:
        """Events after one number and up to another, in order. Those of retired segments are passed over."""
        found: list[SecurityAuditEvent] = []
        for segment in _from(segments(self._log), after):
            with suppress(FileNotFoundError):  # retired this moment
                self._read(segment.path, after, limit, newest, found)
            if len(found) >= limit or (found and found[-1].seq >= newest):
                break
        return found

    def _read(
        self, segment: Path, after: int, limit: int, newest: int, found: list[SecurityAuditEvent]
    ) -> None:
        offset = 0
        with segment.open("rb") as log:
            log.seek(self._offset(segment, after))
            while len(found) < limit and (line := log.readline(2 * LINE_LIMIT_BYTES)):
                if 0 < seq_of(line) <= after:
                    continue
                with suppress(ValidationError):  # a torn line
                    event = SecurityAuditEvent.model_validate_json(line)
                    if event.seq > newest:
                        break
                    if event.seq > after:
                        found.append(event)
                        offset = log.tell()
        if offset:
            self._remember(found[-1].seq, segment, offset)

    def _offset(self, segment: Path, after: int) -> int:
        path, offset = self._places.get(after, (segment, 0))
        return offset if path == segment else 0

    def _remember(self, seq: int, segment: Path, offset: int) -> None:
        self._places[seq] = segment, offset
        if len(self._places) > PLACES_LIMIT:
            self._places.popitem(last=False)


def _from(found: list[Segment], after: int) -> list[Segment]:
    """From the one on that holds the event after that number."""
    earlier = [index for index, segment in enumerate(found) if segment.first <= after + 1]
    return found[earlier[-1] if earlier else 0 :]

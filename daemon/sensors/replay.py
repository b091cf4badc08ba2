"""Events on disk, one a line of JSON: recorded for tests and for the review of an incident, and replayed."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import types
from collections.abc import AsyncIterator, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum, IntFlag
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from daemon import events
from daemon.errors import SensorError
from daemon.events import Event, Tier

LINE_LIMIT_BYTES: Final = 1 << 20
ITEMS_LIMIT: Final = 4096
BATCH: Final = 256
_NUMBERS = range(-(1 << 63), 1 << 64)
KINDS: Final[dict[str, type[Event]]] = {
    name: kind for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, Event)
}


def encode(event: Event) -> bytes:
    """With the newline. Undecodable bytes of a path stay what they are, as escaped surrogates."""
    body = {"event": type(event).__name__} | _plain(event)
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Event:
    """The very event. Raises ValueError, which names what is wrong, for all else: the file may be hostile."""
    if len(line) > LINE_LIMIT_BYTES:
        raise ValueError(f"a line of {len(line)} bytes: at most {LINE_LIMIT_BYTES} are read")
    try:
        body = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    kind = KINDS.get(str(body.pop("event", ""))) if isinstance(body, dict) else None
    if kind is None:
        raise ValueError(f'an object is expected whose "event" is one of {", ".join(KINDS)}')
    event: Event = _record(kind, body, kind.__name__)
    return event


class Recorder:
    """Appends to a file until it has `limit_bytes`; what comes after is counted as `dropped`."""

    def __init__(self, path: Path, limit_bytes: int = 1 << 30) -> None:
        """Raises OSError. A file that is there is never overwritten."""
        self.dropped = 0
        self._left_bytes = limit_bytes
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, batch: Iterable[Event]) -> None:
        for event in batch:
            line = encode(event)
            if len(line) > min(self._left_bytes, LINE_LIMIT_BYTES):
                self.dropped += 1
                continue
            self._left_bytes -= len(line)
            self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class ReplaySensor:
    """As fast as it is asked; the events keep their own tiers and times."""

    tier = Tier.REPLAY

    def __init__(self, path: Path) -> None:
        """Raises SensorError unless it is a regular file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SensorError(f"replay: {path}: {error.strerror}: name a file that was recorded") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SensorError(f"replay: {path}: not a regular file: name a file that was recorded")
        self._file = os.fdopen(descriptor, "rb")
        self._malformed = 0
        self._closed = False

    @property
    def lost(self) -> dict[str, int]:
        """malformed: lines that are no event."""
        return {"malformed": self._malformed}

    async def events(self) -> AsyncIterator[list[Event]]:
        while not self._closed and (lines := self._lines()):
            if batch := self._decoded(lines):
                yield batch
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._closed = True
        self._file.close()

    def _lines(self) -> list[bytes]:
        """One that is too long comes in pieces, of which none is an event."""
        lines: list[bytes] = []
        while len(lines) < BATCH and sum(map(len, lines)) < LINE_LIMIT_BYTES:
            if not (line := self._file.readline(LINE_LIMIT_BYTES + 1)):
                break
            lines.append(line)
        return lines

    def _decoded(self, lines: list[bytes]) -> list[Event]:
        batch = []
        for line in lines:
            try:
                batch.append(decode(line))
            except ValueError:
                self._malformed += 1
        return batch


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _record(kind: Any, value: Any, where: str) -> Any:
    """Every field is expected, and no other: what is lacking is no event of this version."""
    if not isinstance(value, dict) or value.keys() != _types(kind).keys():
        raise ValueError(f"{where}: its fields are {', '.join(_types(kind))}")
    parts = {name: _value(wanted, value[name], f"{where}.{name}") for name, wanted in _types(kind).items()}
    return kind(**parts)


def _value(wanted: Any, value: Any, where: str) -> Any:
    if isinstance(wanted, types.UnionType):
        (kind,) = (option for option in get_args(wanted) if option is not types.NoneType)
        return None if value is None else _value(kind, value, where)
    if is_dataclass(wanted):
        return _record(wanted, value, where)
    if get_origin(wanted) is not None:
        return _collection(wanted, value, where)
    if issubclass(wanted, Enum):
        return _member(wanted, value, where)
    return _scalar(wanted, value, where)


def _member(wanted: type[Enum], value: Any, where: str) -> Enum:
    if issubclass(wanted, IntFlag):
        valid = type(value) is int and not value & ~sum(wanted)
    else:
        valid = type(value) is str
    if not valid:
        raise ValueError(f"{where}: {wanted.__name__} is expected")
    return wanted(value)


def _scalar(wanted: type, value: Any, where: str) -> Any:
    if type(value) is not wanted or (wanted is int and value not in _NUMBERS):
        raise ValueError(f"{where}: {wanted.__name__} is expected")
    return value


def _collection(wanted: Any, value: Any, where: str) -> Any:
    kind, item = get_origin(wanted), get_args(wanted)[-1 if get_origin(wanted) is dict else 0]
    if type(value) is not (dict if kind is dict else list) or len(value) > ITEMS_LIMIT:
        raise ValueError(f"{where}: at most {ITEMS_LIMIT} items are expected")
    if isinstance(value, dict):
        return {name: _value(item, part, where) for name, part in value.items()}
    return kind(_value(item, part, where) for part in value)

"""Recordings: what detectors are given, one record a line of JSON, written and read back.

Events, and what makes the same findings of them again: what each sandbox may be, when it was forgotten, the
clocks, and how much is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import types
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, IntFlag
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from daemon import events
from daemon.errors import SensorError
from daemon.events import Event, Tier
from daemon.expectation import Expectation

LINE_LIMIT_BYTES: Final = 1 << 20
ITEMS_LIMIT: Final = 4096
BATCH: Final = 256
COMPLAINTS: Final = 100
_NETWORK = IPv4Network | IPv6Network
_NUMBERS = range(-(1 << 63), 1 << 64)
KINDS: Final[dict[str, type[Event]]] = {
    name: kind for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, Event)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first record of a file: the two clocks, read together."""

    realtime_ns: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """The container has ended: what comes of it afterwards is judged no more."""

    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """So many records were not written here: the disk was too slow, or one was too large."""

    count: int


Record = Event | Expectation | Started | Forgotten | Missing
OTHERS: Final[dict[str, type]] = {kind.__name__: kind for kind in (Expectation, Started, Forgotten, Missing)}


def encode(record: Record) -> bytes:
    """With the newline. Undecodable bytes of a path stay what they are, as escaped surrogates."""
    kind = type(record).__name__
    body = {"record" if kind in OTHERS else "event": kind} | _plain(record)
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Record:
    """The very record. Raises ValueError, which names what is wrong, for all else: a file may be hostile."""
    if len(line) > LINE_LIMIT_BYTES:
        raise ValueError(f"a line of {len(line)} bytes: at most {LINE_LIMIT_BYTES} are read")
    try:
        body = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    kind = _kind(body) if isinstance(body, dict) else None
    if kind is None:
        raise ValueError(
            f'an object is expected whose "event" is one of {", ".join(KINDS)},'
            f' or whose "record" is one of {", ".join(OTHERS)}'
        )
    record: Record = _record(kind, body, kind.__name__)
    return record


def _kind(body: dict[str, Any]) -> type | None:
    if "record" in body:
        return OTHERS.get(str(body.pop("record")))
    return KINDS.get(str(body.pop("event", "")))


class Recorder:
    """Appends to a file until it has `limit_bytes`; what comes after is counted as `dropped`."""

    def __init__(self, path: Path, limit_bytes: int = 1 << 30) -> None:
        """Raises OSError. A file that is there is never overwritten."""
        self.dropped = 0
        self._left_bytes = limit_bytes
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, batch: Iterable[Record]) -> None:
        for record in batch:
            if not self.put(encode(record)):
                self.dropped += 1
        self._file.flush()

    def put(self, line: bytes) -> bool:
        """False where it has no room any more; buffered until the next `write`, `flush` or `close`."""
        if len(line) > min(self._left_bytes, LINE_LIMIT_BYTES):
            return False
        self._left_bytes -= len(line)
        self._file.write(line)
        return True

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Recorded:
    """The records of a file, in their order. Iterate it once."""

    def __init__(self, path: Path) -> None:
        """Raises SensorError unless it is a regular file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SensorError(f"replay: {path}: {error.strerror}: name a file that was recorded") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SensorError(f"replay: {path}: not a regular file: name a file that was recorded")
        self.malformed = 0
        """Lines that are no record."""
        self.complaints: list[tuple[int, str]] = []
        """The numbers of the first COMPLAINTS of them, from 1, and what is wrong."""
        self._file = os.fdopen(descriptor, "rb")
        self._line = 0
        self._begins = True
        self._complained = 0

    def batches(self) -> Iterator[list[Record]]:
        """The records of some lines at once: none where all of those were malformed."""
        while not self._file.closed and (lines := self._lines()):
            yield [record for number, line in lines if (record := self._decoded(number, line)) is not None]

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> list[tuple[int, bytes]]:
        """One that is too long comes in pieces, of which none is a record."""
        lines: list[tuple[int, bytes]] = []
        size_bytes = 0
        while len(lines) < BATCH and size_bytes < LINE_LIMIT_BYTES:
            if not (line := self._file.readline(LINE_LIMIT_BYTES + 1)):
                break
            self._line += self._begins
            self._begins = line.endswith(b"\n")
            size_bytes += len(line)
            lines.append((self._line, line))
        return lines

    def _decoded(self, number: int, line: bytes) -> Record | None:
        try:
            return decode(line)
        except ValueError as error:
            if number > self._complained:  # not of the rest of a long line
                self._complained = number
                self._complain(number, str(error))
            return None

    def _complain(self, number: int, wrong: str) -> None:
        self.malformed += 1
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append((number, wrong))


class ReplaySensor:
    """As fast as it is asked; the events keep their own tiers and times. Other records are passed over."""

    tier = Tier.REPLAY

    def __init__(self, path: Path) -> None:
        """Raises SensorError unless it is a regular file."""
        self._recorded = Recorded(path)
        self._closed = False

    @property
    def lost(self) -> dict[str, int]:
        """malformed: lines that are no record."""
        return {"malformed": self._recorded.malformed}

    async def events(self) -> AsyncIterator[list[Event]]:
        for records in self._recorded.batches():
            if batch := [record for record in records if isinstance(record, Event)]:
                yield batch
            await asyncio.sleep(0)
            if self._closed:
                return

    async def close(self) -> None:
        self._closed = True
        self._recorded.close()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
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
    if wanted == _NETWORK:
        return ip_network(_scalar(str, value, where))
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

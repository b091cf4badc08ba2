"""The files of one log: segments of JSON lines, each named by the number of its first event.

The first is `audit.jsonl`, the second for instance `audit-0000000000154322.jsonl`. A segment never gets
another name, and only the last one grows. One that retention deleted leaves a tombstone in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINE_LIMIT_BYTES = 64 * 1024
DIGITS = 16
TOMBSTONE = ".tombstone"


@dataclass(frozen=True, slots=True)
class Segment:
    """`first` is the number of its first event; `retired`, and `path` is that of its tombstone."""

    first: int
    path: Path
    retired: bool = False


def segment_path(log: Path, first: int) -> Path:
    """`log` names the first segment, and by it all of them."""
    return log if first == 1 else log.with_name(f"{log.stem}-{first:0{DIGITS}d}{log.suffix}")


def tombstone_path(log: Path, first: int) -> Path:
    return log.with_name(f"{log.stem}-{first:0{DIGITS}d}{TOMBSTONE}")


def prepared_path(log: Path) -> Path:
    """What will be the next segment, with its room on the disk."""
    return log.with_name(f"{log.name}.next")


def reserve_path(log: Path) -> Path:
    """Room on the disk for the last events."""
    return log.with_name(f"{log.name}.reserve")


def history(log: Path) -> list[Segment]:
    """All segments in their order, also the retired. One that is still there counts as not retired."""
    there = segments(log)
    kept = {segment.first for segment in there}
    stones = _numbered(log, TOMBSTONE)
    retired = [Segment(first, path, retired=True) for first, path in stones if first not in kept]
    return sorted([*there, *retired], key=lambda segment: segment.first)


def segments(log: Path) -> list[Segment]:
    """Those that are there, in their order. There may be thousands of tombstones beside them."""
    found = [Segment(first, path) for first, path in _numbered(log, log.suffix) if first > 1]
    return [*([Segment(1, log)] if log.exists() else []), *sorted(found, key=lambda segment: segment.first)]


def _numbered(log: Path, ending: str) -> Iterator[tuple[int, Path]]:
    """Files of the log with that ending, and the number in their name."""
    beginning = f"{log.stem}-"
    for name in os.listdir(log.parent):  # noqa: PTH208  a Path for each of thousands would take 50 ms
        digits = name.removeprefix(beginning).removesuffix(ending)
        if len(name) == len(beginning) + DIGITS + len(ending) and digits.isdecimal() and digits.isascii():
            yield int(digits), log.with_name(name)


def lines(segment: Path) -> Iterator[bytes]:
    """Without their newlines. Raises OSError."""
    with segment.open("rb") as file:
        while line := file.readline(4 * LINE_LIMIT_BYTES):
            yield line.removesuffix(b"\n")


def all_lines(log: Path) -> Iterator[bytes]:
    """Of all segments that are there. One that is retired meanwhile is passed over."""
    for segment in segments(log):
        try:
            yield from lines(segment.path)
        except FileNotFoundError:
            continue


def last_line(segment: Path) -> bytes:
    """The last whole one, b"" where there is none."""
    with segment.open("rb") as file:
        file.seek(max(0, segment.stat().st_size - 4 * LINE_LIMIT_BYTES))
        return file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]


def seq_of(line: bytes) -> int:
    """Of a line that the log wrote, 0 of others; for the price of a look at its beginning."""
    end = line.find(b",", 7, 32)
    if end < 0 or not line.startswith(b'{"seq":'):
        return 0
    digits = line[7:end]
    return int(digits) if digits.isdigit() else 0


def sync_folder(folder: Path) -> None:
    """Names in it are on the disk when it returns. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

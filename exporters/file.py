"""A file of lines, for Filebeat, Fluent Bit, Vector or a person."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from exporters import Kind, Options, Surroundings


class FileOptions(Options):
    path: Path
    rotate_bytes: int = Field(default=64 << 20, ge=4096)
    rotate_s: float = Field(default=86_400, gt=0)
    """How old a file may become; its age is that of its first line."""
    kept: int = Field(default=5, ge=1, le=1000)
    """Older ones beside the present: PATH.1 is the newest of them."""


class File:
    """A batch is on the disk when it is acknowledged (fsync(2)). Readers follow the name: logrotate(8)."""

    def __init__(self, options: FileOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode
        self._begun = surroundings.folder / "begun"

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        data = b"".join(_line(self._encode(event)) for event in batch)
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as error:
            raise ExportError(f"{self._options.path}: cannot be written: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        path = self._options.path
        self._rotate(len(data))
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "ab+") as file:
            if file.tell() and os.pread(descriptor, 1, file.tell() - 1) != b"\n":
                file.write(b"\n")  # half a line of a crash; it comes again, whole
            file.write(data)
            file.flush()
            os.fsync(descriptor)

    def _rotate(self, more_bytes: int) -> None:
        path = self._options.path
        size_bytes = path.stat().st_size if path.exists() else 0
        if not size_bytes:
            self._begin()
            return
        full = size_bytes + more_bytes > self._options.rotate_bytes
        if not full and time.time() - self._begun_s() < self._options.rotate_s:
            return
        for number in range(self._options.kept - 1, 0, -1):
            older = _numbered(path, number)
            if older.exists():
                older.replace(_numbered(path, number + 1))
        path.replace(_numbered(path, 1))
        self._begin()

    def _begin(self) -> float:
        """Noted beside the cursor, for another start: the times of the file itself change with each line."""
        now_s = time.time()
        self._begun.write_text(str(now_s), encoding="ascii")
        return now_s

    def _begun_s(self) -> float:
        """Since 1970; now, where there is no note of it."""
        try:
            return float(self._begun.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return self._begin()

    async def close(self) -> None:
        """Nothing is open between two batches."""


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _line(record: bytes) -> bytes:
    if b"\n" in record:
        raise ExportError("this format has line breaks inside a record: a file of lines", retryable=False)
    return record + b"\n"


FILE = Kind(FileOptions, File)

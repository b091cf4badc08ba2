"""Where an exporter is in the log, kept over a crash."""

from __future__ import annotations

import os
from pathlib import Path

from daemon.errors import ConfigError

DIGITS_LIMIT = 20


class Cursor:
    """The number of the last event that the receiver has. A crash leaves the old file or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self.new = not path.exists()
        if not self.new:
            self.seq = _read(path)

    def store(self, seq: int) -> None:
        """Durable when it returns (rename(2), fsync(2) of file and folder). Raises OSError."""
        fresh = self.path.with_suffix(".new")
        with fresh.open("w", encoding="ascii") as file:
            file.write(f"{seq}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        _sync_folder(self.path.parent)
        self.seq, self.new = seq, False


def _read(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace")[: DIGITS_LIMIT + 1].strip()
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"{path}: is no number of an event: write the last one that the receiver has, or delete it"
        )
    return int(text)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

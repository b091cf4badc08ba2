"""Where an exporter is in the log, kept over a crash."""

from __future__ import annotations

from pathlib import Path

from daemon.delivery.durable import replace
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
        """Durable when it returns. Raises OSError."""
        replace(self.path, f"{seq}\n")
        self.seq, self.new = seq, False


def _read(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace")[: DIGITS_LIMIT + 1].strip()
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"{path}: is no number of an event: write the last one that the receiver has, or delete it"
        )
    return int(text)

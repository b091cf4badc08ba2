"""Room that is given back when the disk is full: so the last events are written, and that it is full."""

from __future__ import annotations

import errno
from pathlib import Path

from daemon.audit.allocation import make_room

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path, self.size_bytes = path, size_bytes
        self.held = False
        self.take()

    def take(self) -> bool:
        """Whether there is room for it. A file system that cannot allocate has none."""
        self.held = self.size_bytes > 0 and make_room(self._path, self.size_bytes)
        return self.held

    def give_back(self) -> bool:
        """Whether there was one."""
        held, self.held = self.held, False
        self._path.unlink(missing_ok=True)
        return held

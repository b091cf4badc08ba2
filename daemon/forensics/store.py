"""Files of evidence in a folder of the daemon's own: written once, and the oldest removed for new ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_BYTES = 4 << 20
_NAME = re.compile(r"([0-9a-f]{32})\.(\d+|none)\.json")
_ID = re.compile(r"[0-9a-f]{32}")
UNFINISHED = ".part"


def new_id() -> str:
    """The first 16 digits are nanoseconds since 1970, so that ids sort by time."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Stored:
    """`owner_uid` is None for a container of somebody else."""

    id: str
    owner_uid: int | None
    path: Path


class EvidenceStore:
    """At most `most` files with `most_bytes` together. Blocking: call it in a thread."""

    def __init__(self, folder: Path, most: int, most_bytes: int) -> None:
        self._folder = folder
        self._most = most
        self._most_bytes = most_bytes

    @property
    def enabled(self) -> bool:
        return self._most > 0

    def clean(self) -> None:
        """At the start: what a crash left unfinished, and what new limits have no room for."""
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.name.endswith(UNFINISHED):
                    path.unlink()
            self._trim()

    def put(self, evidence_id: str, owner_uid: int | None, evidence: dict[str, Any]) -> str:
        """Durable when it returns the file's sha256. Raises OSError; ValueError where it is too large."""
        data = json.dumps(evidence).encode()
        if len(data) > FILE_BYTES:
            raise ValueError(f"{len(data)} bytes of evidence: at most {FILE_BYTES} are kept")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        name = f"{evidence_id}.{'none' if owner_uid is None else owner_uid}.json"
        _write(self._folder / (name + UNFINISHED), data)
        (self._folder / (name + UNFINISHED)).rename(self._folder / name)
        _sync(self._folder)
        self._trim()
        return hashlib.sha256(data).hexdigest()

    def all(self) -> list[Stored]:
        """The oldest first."""
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return []
        found = [match for name in names if (match := _NAME.fullmatch(name))]
        return [Stored(m[1], None if m[2] == "none" else int(m[2]), self._folder / m[0]) for m in found]

    def find(self, evidence_id: str) -> Stored | None:
        wanted = evidence_id if _ID.fullmatch(evidence_id) else None
        return next((one for one in self.all() if one.id == wanted), None)

    def _trim(self) -> None:
        """From whoever has most, their oldest: nobody's flood pushes out what is another's."""
        kept = self.all()
        sizes = {one.id: one.path.stat().st_size for one in kept}
        while len(kept) > self._most or sum(sizes[one.id] for one in kept) > self._most_bytes:
            (greediest, _), *_ = Counter(one.owner_uid for one in kept).most_common(1)
            victim = next(one for one in kept if one.owner_uid == greediest)
            victim.path.unlink()
            kept.remove(victim)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A directory as the `files` of a request."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.cli.errors import CommandError

MAX_BYTES = 4 << 20
MAX_FILES = 256


def read_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Regular files only, 256 files and 4 MiB at most: the daemon's ceilings of one request."""
    files: dict[str, dict[str, Any]] = {}
    left = MAX_BYTES
    for path in _regular_files(directory):
        data = _read(path, left)
        left -= len(data)
        mode = stat.S_IMODE(path.stat().st_mode) & 0o777
        content = base64.b64encode(data).decode()
        files[str(path.relative_to(directory))] = {"content": content, "encoding": "base64", "mode": mode}
        if len(files) > MAX_FILES:
            raise _too_large(directory, f"more than {MAX_FILES} files")
    return files


def _read(path: Path, left: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(left + 1)
    if len(data) > left:
        raise _too_large(path, "more than 4 MiB in all")
    return data


def _regular_files(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for path in (Path(folder, name) for name in sorted([*names, *folders])):
            if path.is_symlink():
                raise CommandError("--workspace holds a link", f"{path}: replace it by the file it points to")
            if path.is_file():
                yield path


def _too_large(path: Path, what: str) -> CommandError:
    remedy = "launch with --detach, then send it with `container-kit cp DIR ID:`"
    return CommandError("--workspace is too large", f"{path}: {what}; {remedy}")

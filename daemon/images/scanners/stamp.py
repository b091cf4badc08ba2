"""What tells a file, or a folder of them, from what is in its place later: findings are kept by it."""

from __future__ import annotations

import os
from pathlib import Path

File = tuple[str, int, int, int, int]
Stamp = tuple[File, ...]


def stamp(path: Path) -> Stamp:
    """Of a file, or of all files below a folder. Empty where there is nothing."""
    return tuple(sorted(_files(str(path))))


def _files(path: str) -> list[File]:
    """Without paths as objects: each launch of an image that must be scanned asks."""
    try:
        if not os.path.isdir(path):  # noqa: PTH112  see above
            return [_file(path, os.stat(path))]  # noqa: PTH116  see above
        with os.scandir(path) as entries:
            found = [*entries]
        return [file for entry in found for file in _of_entry(entry)]
    except OSError:
        return []


def _of_entry(entry: os.DirEntry[str]) -> list[File]:
    return _files(entry.path) if entry.is_dir(follow_symlinks=False) else [_file(entry.path, entry.stat())]


def _file(path: str, status: os.stat_result) -> File:
    return path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

"""Room on the disk that is taken before it is needed."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2): the file seems no longer than what is written."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def allocate(descriptor: int, size_bytes: int) -> None:
    """So much can be written to the file whoever fills the disk. Raises OSError."""
    if size_bytes and _libc.fallocate(descriptor, _KEEP_SIZE, 0, size_bytes):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def make_room(path: Path, size_bytes: int) -> bool:
    """A file that holds room and nothing else; False, and no file, where the disk gives none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, 0)  # it is not the daemon's
        allocate(descriptor, size_bytes)
    except OSError:
        path.unlink()
        return False
    finally:
        os.close(descriptor)
    return True

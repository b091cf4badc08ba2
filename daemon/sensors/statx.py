"""What the kernel already knows of a file, without asking its file system: AT_STATX_DONT_SYNC of statx(2).

A workload's root or program may lie on a FUSE file system whose server it holds itself: stat(2) would wait
for that server's answer, for ever if it likes.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from dataclasses import dataclass

from daemon.events import File, FileKind

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BASIC_STATS = 0x7FF
_BUFFER_BYTES = 256
# linux/stat.h: links, mode, inode, ctime, and major and minor of what it stands for and of where it is.
_STATX = struct.Struct("=16xI8xHxxQ56xqI20xIIII")

_statx = ctypes.CDLL(None, use_errno=True).statx
_statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class Status:
    """Devices in the kernel's form: major << 20 | minor."""

    device: int
    inode: int
    mode: int
    """With the kind, as st_mode has it."""
    node_device: int
    changed_ns: int
    links: int

    def as_file(self, path: str) -> File:
        return File(
            path=path,
            device=self.device,
            inode=self.inode,
            kind=FileKind.of_mode(self.mode),
            node_device=self.node_device,
            mode=stat.S_IMODE(self.mode),
            changed_ns=self.changed_ns,
            links=self.links,
        )


def status_of(path: str) -> Status:
    """Follows links, those of /proc to the file itself. Raises OSError."""
    return _status(_AT_FDCWD, path, 0)


def file_of_descriptor(descriptor: int) -> File:
    """With the path that the kernel has for it: inside the mount namespace that it was opened in."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - on the way of whoever waits for it
    return _status(descriptor, "", _AT_EMPTY_PATH).as_file(path)


def _status(folder: int, path: str, flags: int) -> Status:
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    if _statx(folder, os.fsencode(path), flags | _AT_STATX_DONT_SYNC, _STATX_BASIC_STATS, buffer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    links, mode, inode, seconds, nanoseconds, *devices = _STATX.unpack_from(buffer)
    node_major, node_minor, major, minor = devices
    return Status(
        device=major << 20 | minor,
        inode=inode,
        mode=mode,
        node_device=node_major << 20 | node_minor,
        changed_ns=seconds * 1_000_000_000 + nanoseconds,
        links=links,
    )

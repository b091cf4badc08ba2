"""fanotify(7), called by ctypes: the C library has no more than two system calls of it to offer."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.errors import SensorError

# linux/fanotify.h
CLASS_NOTIFICATION: Final = 0x0
CLASS_CONTENT: Final = 0x4
UNLIMITED_QUEUE: Final = 0x10
_CLOEXEC, _NONBLOCK = 0x1, 0x2
_MARK_ADD, _MARK_REMOVE = 0x1, 0x2
MARK_INODE: Final = 0x0
MARK_FILESYSTEM: Final = 0x100
OPEN_EXEC: Final = 0x1000
OVERFLOW: Final = 0x4000
OPEN_PERMISSION: Final = 0x10000
ACCESS_PERMISSION: Final = 0x20000
_ALLOW, _DENY = 1, 2
_VERSION = 3
_EVENT = struct.Struct("=IBBHQii")  # length, version, reserved, length of the header, mask, fd, pid
_RESPONSE = struct.Struct("=iI")
_READ_BYTES = 4096
_AT_FDCWD = -100
_PATH_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_init.argtypes = (ctypes.c_uint, ctypes.c_uint)
_libc.fanotify_mark.argtypes = (
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_char_p,
)


@dataclass(frozen=True, slots=True)
class Notification:
    """`descriptor` is open on the file and the receiver's to close; -1 of an overflow."""

    mask: int
    descriptor: int
    pid: int


class Group:
    """A set of marks and the descriptor by which it is told what happens to them; reads do not block."""

    def __init__(self, kind: int) -> None:
        """Raises SensorError where the kernel or the privileges lack."""
        self.descriptor: Final[int] = _libc.fanotify_init(kind | _CLOEXEC | _NONBLOCK, _PATH_FLAGS)
        if self.descriptor < 0:
            raise _unusable(ctypes.get_errno())

    def fileno(self) -> int:
        return self.descriptor

    def mark(self, kind: int, mask: int, path: Path) -> None:
        """Raises OSError, which names the path."""
        self._mark(_MARK_ADD | kind, mask, path)

    def unmark(self, kind: int, mask: int, path: Path) -> None:
        self._mark(_MARK_REMOVE | kind, mask, path)

    def read(self) -> Iterator[Notification]:
        """What is there, a page at most. Raises BlockingIOError if nothing is, OSError EMFILE and ENFILE."""
        data = os.read(self.descriptor, _READ_BYTES)
        while data:
            length, version, _, _, mask, descriptor, pid = _EVENT.unpack_from(data)
            if version != _VERSION:
                raise SensorError(f"fanotify: the kernel speaks version {version}, {_VERSION} is known")
            yield Notification(mask, descriptor, pid)
            data = data[length:]

    def answer(self, notification: Notification, *, allow: bool) -> None:
        """Lets it go on, or fail with EPERM."""
        os.write(self.descriptor, _RESPONSE.pack(notification.descriptor, _ALLOW if allow else _DENY))

    def give_up(self) -> None:
        """All marks go, and whoever waits is allowed. The descriptor remains open, on nothing."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, self.descriptor, inheritable=False)
        os.close(null)

    def close(self) -> None:
        """As `give_up`; what was told and not read is forgotten."""
        os.close(self.descriptor)

    def _mark(self, flags: int, mask: int, path: Path) -> None:
        if _libc.fanotify_mark(self.descriptor, flags, mask, _AT_FDCWD, os.fsencode(path)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))


def _unusable(number: int) -> SensorError:
    remedy = {
        errno.ENOSYS: "the kernel needs CONFIG_FANOTIFY and CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
        errno.EINVAL: "the kernel needs CONFIG_FANOTIFY and CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
        errno.EPERM: "the daemon needs CAP_SYS_ADMIN, and the calls fanotify_init and fanotify_mark: "
        "under systemd add the drop-in guarded-files.conf",
        errno.EMFILE: "raise fs.fanotify.max_user_groups or the limit of open files",
    }.get(number, "see fanotify_init(2)")
    return SensorError(f"fanotify: {os.strerror(number)}: {remedy}")

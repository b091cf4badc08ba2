"""Opening paths that a hostile program can rearrange while we look: openat2(2), confined to one directory."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255

# linux/openat2.h; the call's number is the same on every architecture.
_NR_OPENAT2 = 437
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
ACROSS_MOUNTS = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
CONFINED = ACROSS_MOUNTS | _RESOLVE_NO_XDEV


class WorkspaceError(ValueError):
    """What was asked of a workspace cannot be done; the message says why and what to do instead."""


class PathRefused(WorkspaceError):
    """The path is malformed, or leads to something that is never opened: a link, a device, another mount."""


_REFUSED = {
    errno.ELOOP: "is or passes through a symbolic link: name the path that the link stands for",
    errno.EXDEV: "leaves the workspace's file system: name a path that stays in it",
    errno.ENOTDIR: "has a file or a symbolic link where a directory is needed: name another path",
    errno.EISDIR: "is a directory: name a file",
    errno.ENXIO: "is a socket or a FIFO: only regular files can be opened",
    errno.EACCES: "is a device, or permission is denied: only regular files can be opened",
    errno.ENAMETOOLONG: "is too long: shorten it",
    errno.EAGAIN: "is held by a lease of the sandbox's program: try again later",
}


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)


def check_path(path: str) -> str:
    """Returns `path`, or raises PathRefused unless it is plainly relative: names joined by single slashes.

    Limits are the kernel's: 4096 bytes with the final NUL, 255 bytes a name. Undecodable bytes are
    surrogates, as `os.fsdecode` makes them.
    """
    if not path:
        raise PathRefused("the path is empty: name a file below the workspace")
    if path.startswith("/"):
        raise PathRefused(f"{path[:80]!r} is absolute: name it relative to the workspace")
    if "\0" in path:
        raise PathRefused(f"{path[:80]!r} has a NUL byte: no file name can")
    if _size_bytes(path) >= MAX_PATH_BYTES:
        raise PathRefused(f"{path[:80]!r}... is longer than {MAX_PATH_BYTES - 1} bytes: shorten it")
    for name in path.split("/"):
        _check_name(path, name)
    return path


def _check_name(path: str, name: str) -> None:
    if name in ("", ".", ".."):
        raise PathRefused(f"{path[:80]!r} has the part {name!r}: write the path without it")
    if _size_bytes(name) > MAX_NAME_BYTES:
        raise PathRefused(f"{name[:80]!r}... is longer than {MAX_NAME_BYTES} bytes: shorten it")


def _size_bytes(text: str) -> int:
    try:
        return len(os.fsencode(text))
    except UnicodeEncodeError as error:
        raise PathRefused(f"{text[:80]!r} has a lone surrogate: write the path in UTF-8") from error


def open_beneath(directory: int, path: str, flags: int, mode: int = 0, resolve: int = CONFINED) -> int:
    """A new descriptor of `path`, looked up from `directory` without ever leaving it or following a link.

    Never blocks: a FIFO without a peer and a leased file fail at once. Raises PathRefused, FileNotFoundError
    or another OSError.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if not flags & os.O_PATH:  # which openat2 refuses to combine
        flags |= os.O_NONBLOCK | os.O_NOCTTY
    how = _OpenHow(flags, mode, resolve)
    descriptor = int(_syscall(_NR_OPENAT2, directory, os.fsencode(path), how, ctypes.sizeof(how)))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise refusal(OSError(number, os.strerror(number), path), path)
    return descriptor


def refusal(error: OSError, path: str) -> Exception:
    """What the error means for `path`: PathRefused, or the error itself."""
    if reason := _REFUSED.get(error.errno or 0):
        return PathRefused(f"{path[:80]!r} {reason}")
    if error.errno == errno.ENOSYS:
        return OSError(error.errno, "the kernel has no openat2: Linux 5.6 or newer is needed")
    return error


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    """Closes the descriptor in the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_directory(directory: int, path: str) -> int:
    """A readable descriptor; "." is `directory` itself."""
    return open_beneath(directory, path, os.O_RDONLY | os.O_DIRECTORY)


def open_entry(directory: int, path: str) -> tuple[int, os.stat_result]:
    """A readable descriptor of a regular file or a directory, and what it is.

    A hard link is as good as any other name: both its names are in one file system, the workspace's own.
    """
    descriptor = open_beneath(directory, path, os.O_RDONLY)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    raise PathRefused(f"{path[:80]!r} is a FIFO or a device: only regular files can be opened")


def open_file(directory: int, path: str) -> int:
    """A readable descriptor of a regular file."""
    descriptor, status = open_entry(directory, path)
    if stat.S_ISREG(status.st_mode):
        return descriptor
    os.close(descriptor)
    raise PathRefused(f"{path[:80]!r} {_REFUSED[errno.EISDIR]}")

"""The process that writes the audit log: a thread would wait seconds for its turn beside a busy event loop.

Run as a file, on two descriptors: a socket and the segment, open for appending.

    -> 1 byte, APPEND or ROTATE; 4 bytes, the length of what follows, big-endian; then that:
       APPEND  what is to be written
       ROTATE  a prepared file, which need not be there, and the segment that it becomes: paths, a NUL between
    <- 4 bytes, 0 once it is on the disk, or an errno (errno(3)): then nothing of it is in the log

Imports nothing of the program, so that it starts in milliseconds and stays small.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

HEADER = struct.Struct(">BI")
NUMBER = struct.Struct(">I")
APPEND, ROTATE = 0, 1
OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def serve(connection: socket.socket, log: int) -> None:
    """Until the other end is closed."""
    with connection, connection.makefile("rb") as incoming:
        while len(header := incoming.read(HEADER.size)) == HEADER.size:
            kind, size = HEADER.unpack(header)
            if len(data := incoming.read(size)) < size:
                return  # the daemon died while it sent it
            log, number = rotate(log, data) if kind == ROTATE else (log, append(log, data))
            connection.sendall(NUMBER.pack(number))


def append(log: int, data: bytes) -> int:
    """0 or an errno. All of it or nothing: half a line would spoil the next one."""
    before = os.fstat(log).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(log, left) :]
        os.fdatasync(log)
    except OSError as error:
        cut(log, before)
        return error.errno or errno.EIO
    return 0


def rotate(log: int, paths: bytes) -> tuple[int, int]:
    """The segment to go on with and 0, or the old one and an errno."""
    prepared, _, target = paths.partition(b"\0")
    try:
        fresh = _begun(prepared, target)
    except OSError as error:
        return log, error.errno or errno.EIO
    os.close(log)
    return fresh, 0


def _begun(prepared: bytes, target: bytes) -> int:
    """Its name is on the disk as well. One that is there already is what a dead process had begun."""
    if not os.path.lexists(target):
        with suppress(FileNotFoundError):
            os.rename(prepared, target)  # noqa: PTH104 - pathlib takes long to import
    fresh = os.open(target, OPEN_FLAGS, 0o600)
    folder = os.open(target.rpartition(b"/")[0] or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError:
        os.close(fresh)
        raise
    finally:
        os.close(folder)
    return fresh


def cut(log: int, size: int) -> None:
    """Also gives back what was allocated beyond."""
    try:
        os.ftruncate(log, size)
    except OSError:
        return  # an append-only file (chattr +a) keeps the half line


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGINT):  # meant for the daemon too, which has last words to write
        signal.signal(ending, signal.SIG_IGN)
    with suppress(ConnectionError):  # the daemon was killed
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))

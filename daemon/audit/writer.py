"""The process that writes the audit log: a thread would wait seconds for its turn beside a busy event loop.

Run as a file, on two descriptors: a socket and the log, open for appending.

    -> 4 bytes, the length of what is to be written, big-endian; then that
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

NUMBER = struct.Struct(">I")


def serve(connection: socket.socket, log: int) -> None:
    """Until the other end is closed."""
    with connection, connection.makefile("rb") as incoming:
        while len(header := incoming.read(NUMBER.size)) == NUMBER.size:
            (size,) = NUMBER.unpack(header)
            if len(data := incoming.read(size)) == size:  # else the daemon died while it sent it
                connection.sendall(NUMBER.pack(append(log, data)))


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


def cut(log: int, size: int) -> None:
    try:
        os.ftruncate(log, size)
    except OSError:
        return  # an append-only file (chattr +a) keeps the half line


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGINT):  # meant for the daemon too, which has last words to write
        signal.signal(ending, signal.SIG_IGN)
    with suppress(ConnectionError):  # the daemon was killed
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))

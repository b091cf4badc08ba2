"""The log's end of the writing process: started, spoken to, and started again when it dies."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from daemon.audit import writer
from daemon.audit.writer import APPEND, HEADER, NUMBER, OPEN_FLAGS, ROTATE

PROGRAM = Path(writer.__file__)
ATTEMPTS = 3
CLOSE_DEADLINE_S = 10.0


class Appending:
    """One order at a time. `segment` is open for appending, and its own from now on."""

    def __init__(self, segment: int, lock: int) -> None:
        self._segment, self._lock = segment, lock  # which its process holds as well, to its own end
        self.size_bytes = os.fstat(segment).st_size
        """What is durable of the segment."""
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def append(self, data: bytes) -> None:
        """Returns when it is on the disk, all of it. Raises OSError: then nothing of it is in the log."""
        await self._ordered(APPEND, data)
        self.size_bytes += len(data)

    async def rotate(self, prepared: Path, target: Path) -> None:
        """Goes on in `target`, a new segment that `prepared` becomes. Raises OSError: then in the old one."""
        try:
            await self._ordered(ROTATE, os.fsencode(prepared) + b"\0" + os.fsencode(target))
            fresh = os.open(target, OPEN_FLAGS, 0o600)
        except (OSError, asyncio.CancelledError):
            self._restart()  # in the old one, whatever it had begun
            _remove_empty(target)
            raise
        writer.cut(self._segment, self.size_bytes)  # what was allocated beyond its end
        os.close(self._segment)
        self._segment, self.size_bytes = fresh, os.fstat(fresh).st_size

    async def _ordered(self, kind: int, data: bytes) -> None:
        for _ in range(ATTEMPTS):
            try:
                number = await self._exchange(HEADER.pack(kind, len(data)) + data)
            except (OSError, EOFError):
                self._restart()
            except asyncio.CancelledError:
                self._restart()  # it may have been written, and whoever waits for it is not told so
                raise
            else:
                if number:
                    raise OSError(number, os.strerror(number))
                return
        raise OSError(None, "its writing process dies again and again")

    async def _exchange(self, order: bytes) -> int:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, order)
        answer = b""
        while len(answer) < NUMBER.size:
            received = await loop.sock_recv(self._socket, NUMBER.size - len(answer))
            if not received:
                raise EOFError
            answer += received
        return int(NUMBER.unpack(answer)[0])

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            numbers = [theirs.fileno(), self._segment]
            command = [sys.executable, "-I", "-S", str(PROGRAM), *map(str, numbers)]
            self._process = subprocess.Popen(  # noqa: S603  # our own program and numbers
                command, pass_fds=[*numbers, self._lock], stdin=subprocess.DEVNULL
            )

    def _restart(self) -> None:
        """What the dead one had written of a batch that nobody was told of is written anew."""
        self._stop()
        if os.fstat(self._segment).st_size != self.size_bytes:
            writer.cut(self._segment, self.size_bytes)
        self._start()

    def _stop(self) -> None:
        self._socket.close()
        try:
            self._process.wait(CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Whatever it has is written first."""
        self._stop()
        os.close(self._segment)


def _remove_empty(segment: Path) -> None:
    with suppress(OSError):
        if not segment.stat().st_size:
            segment.unlink()

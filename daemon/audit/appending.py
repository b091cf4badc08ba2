"""The log's end of the writing process: started, spoken to, and started again when it dies."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from daemon.audit import writer
from daemon.audit.writer import NUMBER

PROGRAM = Path(writer.__file__)
ATTEMPTS = 3
CLOSE_DEADLINE_S = 10.0


class Appending:
    """One batch at a time. `log` is open for appending, and stays the caller's."""

    def __init__(self, log: int) -> None:
        self._log = log
        self._durable_bytes = os.fstat(log).st_size
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def append(self, data: bytes) -> None:
        """Returns when it is on the disk, all of it. Raises OSError: then nothing of it is in the log."""
        for _ in range(ATTEMPTS):
            try:
                number = await self._exchange(data)
            except (OSError, EOFError):
                self._restart()
            else:
                return self._done(number, len(data))
        raise OSError(None, "its writing process dies again and again")

    def _done(self, number: int, size: int) -> None:
        if number:
            raise OSError(number, os.strerror(number))
        self._durable_bytes += size

    async def _exchange(self, data: bytes) -> int:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, NUMBER.pack(len(data)) + data)
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
            numbers = [theirs.fileno(), self._log]
            command = [sys.executable, "-I", "-S", str(PROGRAM), *map(str, numbers)]
            self._process = subprocess.Popen(  # noqa: S603  # our own program and numbers
                command, pass_fds=numbers, stdin=subprocess.DEVNULL
            )

    def _restart(self) -> None:
        """What the dead one had written of a batch that nobody was told of is written anew."""
        self.close()
        writer.cut(self._log, self._durable_bytes)
        self._start()

    def close(self) -> None:
        """Whatever it has is written first."""
        self._socket.close()
        try:
            self._process.wait(CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

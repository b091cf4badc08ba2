"""A Unix socket in front of the real engine's that can be cut, as if the engine had gone, and mended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.running import ENGINE


class EngineProxy:
    """`on_request` and `on_answer` see what passes, before it does: they may cut, or hold it up.

    `change` makes another request of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_request: Callable[[bytes], object] = lambda _: None
        self.on_answer: Callable[[bytes], object] = lambda _: None
        self.change: Callable[[bytes], bytes] = lambda request: request
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def mend(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Nobody listens any more, and every connection is broken off."""
        if self._listener is not None:
            self.path.unlink()
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            broken, self._open = self._open, set()
        for connection in broken:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            engine.connect(str(ENGINE))
            with self._lock:
                self._open |= {client, engine}
            back = threading.Thread(target=self._copy, args=(engine, client, self._see_answer), daemon=True)
            back.start()
            self._copy(client, engine, self._see_request)
            back.join()
            with self._lock:
                self._open -= {client, engine}

    def _see_request(self, data: bytes) -> bytes:
        self.on_request(data)
        return self.change(data)

    def _see_answer(self, data: bytes) -> bytes:
        self.on_answer(data)
        return data

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, see: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(see(data))
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def engine_proxy(folder: Path) -> Iterator[EngineProxy]:
    proxy = EngineProxy(folder / "engine.sock")
    proxy.mend()
    try:
        yield proxy
    finally:
        proxy.cut()

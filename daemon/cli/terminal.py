"""Stdin to an attached sandbox, and its output back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from daemon.cli.errors import CommandError
from daemon.cli.output import write
from daemon.tasks import together

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

STDIN = 0
STDERR_CHANNEL = 2
CHUNK_BYTES = 1 << 16
ENDING = (signal.SIGHUP, signal.SIGTERM)
ENDED, LET_GO = 1000, 1013  # "normal closure" and "try again later", of the IANA registry of close codes


async def converse(socket: ClientWebSocketResponse, *, terminal: bool) -> None:
    """Until the sandbox's output ends. With `terminal` keys go through raw, Ctrl-C too.

    Raises CommandError where the daemon ended it.
    """
    if not terminal:
        await _converse(socket)
        return
    with raw_mode():
        resized = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, resized.set)
        async with together() as tasks:
            sizes = tasks.create_task(_send_sizes(socket, resized))
            await _converse(socket)
            sizes.cancel()


async def _converse(socket: ClientWebSocketResponse) -> None:
    _send_stdin(socket)
    async for message in socket:
        if isinstance(message.data, bytes) and message.data:
            write("stderr" if message.data[0] == STDERR_CHANNEL else "stdout", message.data[1:])
    if socket.close_code == LET_GO:
        raise CommandError("the output was not read fast enough", "the sandbox runs on: attach again")
    if socket.close_code != ENDED:
        raise CommandError(
            "the connection broke off", "attach again, if `container-kit ps` shows the sandbox"
        )


def _send_stdin(socket: ClientWebSocketResponse) -> None:
    """In a thread of its own: no read of a terminal can be cancelled, nor may it delay the exit."""
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read_stdin, args=(socket, loop), daemon=True).start()


def _read_stdin(socket: ClientWebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
    with suppress(ConnectionError, RuntimeError, OSError):  # the sandbox ended first
        while data := os.read(STDIN, CHUNK_BYTES):
            asyncio.run_coroutine_threadsafe(socket.send_bytes(data), loop).result()
        asyncio.run_coroutine_threadsafe(socket.send_json({"eof": True}), loop).result()


async def _send_sizes(socket: ClientWebSocketResponse, resized: asyncio.Event) -> None:
    with suppress(ConnectionError):  # the sandbox ended first
        while not socket.closed:
            columns, rows = os.get_terminal_size(STDIN)  # not of COLUMNS and LINES, which do not follow it
            await socket.send_json({"resize": [rows, columns]})
            await resized.wait()
            resized.clear()


@contextmanager
def raw_mode() -> Iterator[None]:
    """Keys unprocessed, and the terminal as it was afterwards (termios(3)), also when a signal ends this."""
    before = termios.tcgetattr(STDIN)

    def restore_and_end(number: int, _: object) -> None:
        termios.tcsetattr(STDIN, termios.TCSANOW, before)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    handlers = {number: signal.signal(number, restore_and_end) for number in ENDING}
    try:
        tty.setraw(STDIN, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stdin_is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()

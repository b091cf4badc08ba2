"""The service manager's side of the daemon: readiness, watchdog, passed sockets.

sd_notify(3) and sd_listen_fds(3) are a datagram and three environment variables.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

FIRST_PASSED_FD = 3
MICROSECONDS = 1_000_000


def notify(state: str) -> bool:
    """False where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        notifier.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    return True


def ready() -> None:
    notify("READY=1")


def stopping() -> None:
    notify("STOPPING=1")


def watchdog_interval_s() -> float | None:
    """Half of what the service manager allows; None where it does not watch this process."""
    allowed_us, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not allowed_us or pid not in {None, str(os.getpid())}:
        return None
    return int(allowed_us) / MICROSECONDS / 2


async def watchdog(beat: Callable[[], None]) -> None:
    """`beat`, then a sign of life, until cancelled; a loop that hangs gives none and is restarted."""
    interval_s = watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        beat()
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


def listen_sockets() -> list[socket.socket]:
    """Sockets that the service manager opened for this process, in the order of its unit."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=fd) for fd in range(FIRST_PASSED_FD, FIRST_PASSED_FD + count)]
    for passed in sockets:
        passed.setblocking(False)
        os.set_inheritable(passed.fileno(), False)
    return sockets

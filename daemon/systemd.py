"""The service manager's side of the daemon: readiness, watchdog, passed sockets.

sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) are a datagram and a few environment variables.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import structlog

from daemon.errors import ConfigError

FIRST_PASSED_FD = 3
PASSED_LIMIT = 64
NOTIFY_DEADLINE_S = 1.0
MICROSECONDS = 1_000_000

log = structlog.get_logger()


def notify(state: str) -> bool:
    """False where no service manager listens, or where it does not take the message; the latter is logged.

    Never raises, and waits for a second at most: a service manager in trouble is no reason to stop, and it
    acts by deadlines of its own.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    path = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.settimeout(NOTIFY_DEADLINE_S)
            notifier.sendto(state.encode(errors="replace"), path)
    except OSError as error:
        log.warning("service manager not notified", address=address, reason=str(error))
        return False
    return True


def ready() -> None:
    """Units ordered after ours may start."""
    notify("READY=1")


def stopping() -> None:
    notify("STOPPING=1")


def status(text: str) -> None:
    """One line for `systemctl status`. A line break would begin another message, and becomes a space."""
    notify("STATUS=" + " ".join(text.splitlines()))


def watchdog_interval_s() -> float | None:
    """Half of what the service manager allows; None where it does not watch this process.

    Raises ConfigError when WATCHDOG_USEC is no time.
    """
    allowed_us, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not allowed_us or pid not in {None, str(os.getpid())}:
        return None
    if not allowed_us.isdecimal() or int(allowed_us) == 0:
        raise ConfigError(f"WATCHDOG_USEC: {allowed_us!r} is no number of microseconds: unset it")
    return int(allowed_us) / MICROSECONDS / 2


async def watchdog(beat: Callable[[], None]) -> None:
    """`beat`, then a sign of life, until cancelled; returns at once where nobody watches.

    A loop that hangs gives no sign and is restarted. `beat` may raise, to give none either: that ends this.
    """
    interval_s = watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        beat()
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)


def listen_sockets() -> list[socket.socket]:
    """Listening stream sockets that the service manager opened for this process, in the order of its unit.

    Only the first call has them: the variables are removed, so that no child takes the sockets for its own.
    Raises ConfigError, by the name of FileDescriptorName=, if one is not of that kind.
    """
    pid, count, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return []
    if not count.isdecimal() or int(count) > PASSED_LIMIT:
        raise ConfigError(
            f"LISTEN_FDS: {count!r} is no number up to {PASSED_LIMIT}: correct the .socket unit"
        )
    fds = range(FIRST_PASSED_FD, FIRST_PASSED_FD + int(count))
    labels = names.split(":") + [""] * len(fds)
    return [_listening(fd, label) for fd, label in zip(fds, labels, strict=False)]


def _listening(fd: int, label: str) -> socket.socket:
    name = f"passed descriptor {fd} ({label or 'unnamed'})"
    try:
        os.set_inheritable(fd, False)
        passed = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"{name} is no socket: {error.strerror}; correct the .socket unit") from error
    if passed.type != socket.SOCK_STREAM or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.close()
        raise ConfigError(
            f"{name} is no listening stream: the .socket unit needs ListenStream= and Accept=no"
        )
    passed.setblocking(False)
    return passed

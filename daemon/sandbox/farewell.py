"""What passes between the daemon and a sandbox's first process beside its streams: the go, and its last word.

The last word: its program has ended, and it stays until its cgroup has been read.

Without it the last sample is a race that is lost more often than not where systemd keeps the cgroups: it
removes one as soon as it is empty, which is before the exit can be noticed here.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from contextlib import suppress

from daemon.errors import EngineError
from daemon.sandbox import init

READY_DEADLINE_S = 30.0
IN_PLACE_DEADLINE_S = 5.0
POLL_INTERVAL_S = 0.0005


async def in_place(pid: int, pidfd: int) -> None:
    """Returns once our init is what it runs: the engine's start may be through a moment earlier.

    Whatever it runs at the deadline is for the attestation to judge. Raises EngineError or OSError: it ended.
    """
    with suppress(TimeoutError):
        await _until(lambda: _program(pid) == init.MOUNT_POINT, pidfd, IN_PLACE_DEADLINE_S)


async def ready(pid: int, pidfd: int) -> None:
    """Returns once all pipes of our init are there. Raises EngineError or OSError: it ended.

    It makes them within a fraction of a millisecond, and no event tells.
    """
    await _until(lambda: awaits_go(pid), pidfd, READY_DEADLINE_S)


async def _until(condition: Callable[[], bool], pidfd: int, deadline_s: float) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            if has_ended(pidfd):
                raise EngineError("the sandbox's first process ended before its program could run")
            await asyncio.sleep(POLL_INTERVAL_S)


def _program(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115  # no path


def awaits_go(pid: int) -> bool:
    """Of our init: before it is ready, and once it has had its go, it does not. Raises OSError: it ended."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{init.GO_FD}").startswith("pipe:")  # noqa: PTH115  # no path
    except FileNotFoundError:
        return False


def give_go(pid: int, pidfd: int, order: bytes = b"") -> None:
    """Its program runs; `order` tells it to a spare. Raises EngineError: the process has ended.

    Past the engine, on whose way a byte of input takes a millisecond.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/fd/{init.GO_FD}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb", buffering=0) as pipe:
            if has_ended(pidfd):
                raise ProcessLookupError
            pipe.write(init.GO + order)  # it lives: what was opened by its number was its own
    except OSError as error:
        raise EngineError("the sandbox ended before its program could run: launch it again") from error


def has_ended(pidfd: int) -> bool:
    """pidfd_open(2): it is readable then. Of one that is closed, too, nothing more will come."""
    poll = select.poll()
    try:
        poll.register(pidfd, select.POLLIN)
    except OSError:
        return True
    return bool(poll.poll(0))


class Farewell:
    """`close` lets the process leave, and does nothing the second time."""

    def __init__(self, pid: int) -> None:
        """Of our init, which must be ready. It is not dumpable: needs CAP_SYS_PTRACE (proc_pid_fd(5))."""
        path = f"/proc/{pid}/fd/{init.FAREWELL_FD}"
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def listen(self, callback: Callable[[], object]) -> None:
        """Called once it has come, until closed; also when the process was killed and says nothing more."""
        asyncio.get_running_loop().add_reader(self._descriptor, callback)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

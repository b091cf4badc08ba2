"""Tells at once when the kernel kills in a cgroup for want of memory, and how often it did."""

from __future__ import annotations

import errno
import os
import re
import select
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from daemon.sandbox.cgroup import Cgroup, CgroupGone, read_counters

_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
REMOVED = (errno.ENOENT, errno.ENODEV)  # before its files were opened, and between that and their use
_NEVER = 1 << 62  # a threshold that no usage crosses


class OomWatch(Protocol):
    """Make it before the sandbox runs its first instruction, and nothing is missed.

    Ask `killed()` whenever `fileno()` is readable. cgroup v1 signals before it kills, so the first answer
    after a signal is often still 0: ask again when the sandbox's init has died, until it is `settled`.
    """

    def fileno(self) -> int:
        """Readable until the next `killed()`: for `loop.add_reader`. Remove the reader before `close()`."""

    def killed(self) -> int:
        """Processes killed so far; never falls, and still answers when the cgroup is gone.

        Exact while the cgroup exists: keep the answer given as the init dies. If v1's is gone by then, any
        number of kills counts as 1, and so does a process that hit the limit as it was being killed anyway.
        """

    @property
    def settled(self) -> bool:
        """Whether the last `killed()` can be relied on: not in the some 10 ms in which v1 removes a cgroup.

        `fileno()` becomes readable as that ends.
        """

    def close(self) -> None: ...


def watch_oom(cgroup: Cgroup) -> OomWatch:
    """Raises CgroupGone."""
    memory = cgroup.directories["memory"]
    try:
        return _SignalWatch(memory.path) if memory.version == 1 else _FileWatch(memory.path / "memory.events")
    except OSError as error:
        if error.errno not in REMOVED:
            raise
        raise CgroupGone(f"{memory.path} was removed") from error


class _SignalWatch:
    """cgroup v1: an eventfd is signalled at every OOM, many times if the victim is slow, and once at removal.

    The two look the same, and oom_kill cannot be read after the removal. What tells them apart is a second
    eventfd, on a threshold that is never crossed: the removal alone signals it, and does so last, as the
    kernel waits for an RCU grace period before it (memcg_event_remove in mm/memcontrol-v1.c).
    """

    def __init__(self, directory: Path) -> None:
        self._killed = 0
        self._signals = 0
        self._removed = False
        self.settled = True
        with ExitStack() as files:
            self._control = _open(files, directory / "memory.oom_control", os.O_RDONLY)
            self._oom, self._removal = _eventfd(files), _eventfd(files)
            usage = _open(files, directory / "memory.usage_in_bytes", os.O_RDONLY)
            event_control = _open(files, directory / "cgroup.event_control", os.O_WRONLY)
            os.write(event_control, b"%d %d" % (self._oom, self._control))
            os.write(event_control, b"%d %d %d" % (self._removal, usage, _NEVER))
            self._epoll = files.enter_context(select.epoll())
            self._epoll.register(self._oom, select.EPOLLIN)
            self._epoll.register(self._removal, select.EPOLLIN)
            self._files: Final = files.pop_all()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def killed(self) -> int:
        # In this order: a removal seen here has sent its other signal before.
        self._removed = self._removed or _drain(self._removal) > 0
        self._signals += _drain(self._oom)
        try:
            self._killed = max(self._killed, _oom_kills(self._control))
        except CgroupGone:
            self.settled = self._removed
            # One signal was the removal itself; of the others, many can come of a single kill.
            self._killed = max(self._killed, min(self._signals - 1, 1))
        return self._killed

    def close(self) -> None:
        self._files.close()


class _FileWatch:
    """cgroup v2: memory.events counts, and polls as EPOLLPRI from each change to the next read.

    Nothing wakes at the removal, and a count not read before it is lost: then the engine's own flag remains.

    A descriptor of its own, as a read by another user of the same one would swallow the change; and inside
    an epoll, as the file itself always polls as readable.
    """

    def __init__(self, file: Path) -> None:
        self._gone = False
        self.settled = True
        with ExitStack() as files:
            self._events = _open(files, file, os.O_RDONLY)
            self._killed = _oom_kills(self._events)
            self._epoll = files.enter_context(select.epoll())
            self._epoll.register(self._events, select.EPOLLPRI)
            self._files: Final = files.pop_all()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def killed(self) -> int:
        if self._gone:
            return self._killed
        try:
            self._killed = _oom_kills(self._events)
        except CgroupGone:
            self._epoll.unregister(self._events)  # a removed file polls as changed for ever
            self._gone = True
        return self._killed

    def close(self) -> None:
        self._files.close()


def _open(files: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    files.callback(os.close, descriptor)
    return descriptor


def _eventfd(files: ExitStack) -> int:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    files.callback(os.close, descriptor)
    return descriptor


def _drain(eventfd: int) -> int:
    try:
        return os.eventfd_read(eventfd)
    except BlockingIOError:
        return 0


def _oom_kills(descriptor: int) -> int:
    match = _OOM_KILL.search(read_counters(descriptor))
    if match is None:
        raise LookupError("the kernel does not count oom_kill: Linux 4.13 or later is needed")
    return int(match[1])

"""Files that nobody in a sandbox may open: denied by the kernel before the open returns.

The kernel holds whoever opens a guarded file until it is answered. It is answered by a thread of its own, so
that a stuck event loop holds nobody up; the loop in turn watches the thread, and if that is stuck gives up
the guard, by which all who wait are let through. So does the kernel if the daemon dies. Sockets cannot be
guarded: connect(2) opens nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from daemon.errors import SensorError
from daemon.events import Event, File, FileOpened, Process, SensorFailed, Tier
from daemon.sensors.attribution import HOST, container_of
from daemon.sensors.batches import LIMIT, Batches
from daemon.sensors.notification import (
    ACCESS_PERMISSION,
    CLASS_CONTENT,
    MARK_INODE,
    OPEN_PERMISSION,
    UNLIMITED_QUEUE,
    Group,
    Notification,
)
from daemon.sensors.observation import observe
from daemon.sensors.statx import file_of_descriptor, status_of

ANSWER_DEADLINE_S = 1.0
"""How long the thread may take over one open before the guard is given up."""


class Deny(Enum):
    EVERYONE = "everyone"
    """But the daemon: of a file that has no use, such as a canary."""
    CONTAINERS = "containers"
    """Of a file that the host uses. Whoever cannot be placed is let through, and counted as undecided."""


def check(paths: Iterable[Path]) -> None:
    """Raises SensorError where this host, or one of the files, cannot be guarded. Nothing is, afterwards."""
    group = Group(CLASS_CONTENT | UNLIMITED_QUEUE)
    try:
        for path in paths:
            with _refusal(path):
                _identity(path)
                group.mark(MARK_INODE, OPEN_PERMISSION | ACCESS_PERMISSION, path)
    finally:
        group.close()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode. Raises OSError."""
    status = status_of(str(path))
    if not stat.S_ISREG(status.mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status.device, status.inode


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "name a regular file of the host"
        if error.errno == errno.EPERM:
            remedy = "fanotify_mark is filtered: under systemd add the drop-in guarded-files.conf"
        raise SensorError(f"fanotify: {path}: {error.strerror}: it cannot be guarded: {remedy}") from error


class InodeGuard:
    """Reports every decision as FileOpened: refused with EPERM, or let through.

    It guards the inode that is at the path now: a file that replaces it must be guarded anew.
    """

    tier = Tier.NETLINK

    def __init__(self) -> None:
        """In the loop's thread. Raises SensorError where the kernel or the privileges lack."""
        self._group = Group(CLASS_CONTENT | UNLIMITED_QUEUE)
        self._guarded: dict[tuple[int, int], Deny] = {}
        self._lost = {"undecided": 0, "undelivered": 0, "unreadable": 0}
        self._batches = Batches()
        self._decided: deque[Event] = deque()
        self._answers = self._answering = self._answering_before = 0
        self._own_pid = os.getpid()
        self._closed = self._given_up = False
        self._loop = asyncio.get_running_loop()
        self._stop = self._eventfd()
        self._thread = threading.Thread(target=self._run, name="inode-guard", daemon=True)
        self._thread.start()
        self._watch_timer = self._loop.call_later(ANSWER_DEADLINE_S, self._watch_thread)

    @property
    def lost(self) -> dict[str, int]:
        """undecided: let through as their container was not told; undelivered: decided, but not reported;
        unreadable: denied by the kernel, as the daemon had no descriptor left."""
        return {**self._lost, "behind": self._batches.dropped}

    def guard(self, path: Path, deny: Deny = Deny.EVERYONE) -> None:
        """Its opens, those for execution too. Raises SensorError.

        Before a sandbox can open it: reads by a descriptor from before are denied up to Linux 6.13 only, as
        later kernels decide at the open whether to ask (file_set_fsnotify_mode_from_watchers, fs/notify).
        """
        with _refusal(path):
            self._guarded[_identity(path)] = deny
            self._group.mark(MARK_INODE, OPEN_PERMISSION | ACCESS_PERMISSION, path)

    def release(self, path: Path) -> None:
        """Raises OSError. A file that was removed is released by that."""
        status = status_of(str(path))
        self._group.unmark(MARK_INODE, OPEN_PERMISSION | ACCESS_PERMISSION, path)
        self._guarded.pop((status.device, status.inode), None)

    def events(self) -> AsyncIterator[list[Event]]:
        return self._batches.iterate()

    async def close(self) -> None:
        """All who wait are let through, then the thread ends; one that is stuck is left to itself."""
        if self._closed:
            return
        self._closed = True
        self._watch_timer.cancel()
        self._give_up()
        os.eventfd_write(self._stop, 1)
        await asyncio.to_thread(self._thread.join, ANSWER_DEADLINE_S)
        if not self._thread.is_alive():
            self._group.close()
            os.close(self._stop)
        self._hand_over()
        self._batches.close()

    def _eventfd(self) -> int:
        try:
            return os.eventfd(0, os.EFD_CLOEXEC)
        except OSError as error:
            self._group.close()
            raise SensorError(f"fanotify: {error.strerror}: raise the limit of open files") from error

    # --- in the thread

    def _run(self) -> None:
        """Whatever ends it, nobody waits for it any longer."""
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._group, select.POLLIN)
        try:
            while not self._given_up and self._stop not in [descriptor for descriptor, _ in poll.poll()]:
                self._answer_page()
        finally:
            self._group.give_up()

    def _answer_page(self) -> None:
        try:
            for notification in self._group.read():
                self._answers += 1
                self._answering = self._answers
                self._answer(notification)
        except BlockingIOError:
            pass
        except OSError:
            self._lost["unreadable"] += 1
        finally:
            self._answering = 0

    def _answer(self, notification: Notification) -> None:
        """Whatever happens. The opener is described before, while it cannot go away."""
        allowed = True
        try:
            file = file_of_descriptor(notification.descriptor)
            deny = self._guarded.get((file.device, file.inode))
            sandbox = self._container(notification.pid, deny)
            own = notification.pid == self._own_pid
            allowed = own or not (deny is Deny.EVERYONE or (deny is Deny.CONTAINERS and sandbox != HOST))
            if not own:
                self._report(self._decision(notification, sandbox, file, allowed=allowed))
        finally:
            with suppress(FileNotFoundError):  # it was killed while it waited
                self._group.answer(notification, allow=allowed)
            os.close(notification.descriptor)

    def _decision(self, notification: Notification, sandbox: str, file: File, *, allowed: bool) -> FileOpened:
        return FileOpened(
            time_ns=time.monotonic_ns(),
            sandbox=sandbox,
            process=_described(notification.pid),
            tier=self.tier,
            syscall="read" if notification.mask & ACCESS_PERMISSION else "open",
            result=0 if allowed else -errno.EPERM,
            file=file,
        )

    def _container(self, pid: int, deny: Deny | None) -> str:
        try:
            return container_of(pid) or HOST  # it has not ended, but may have been killed
        except OSError:
            self._lost["undecided"] += deny is Deny.CONTAINERS
            return HOST

    def _report(self, event: Event) -> None:
        """Wakes the loop only where nothing waits for it already: it may be stuck."""
        if len(self._decided) >= LIMIT:
            self._lost["undelivered"] += 1
            return
        self._decided.append(event)
        if len(self._decided) == 1:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._hand_over)

    # --- in the loop

    def _hand_over(self) -> None:
        self._batches.put(self._taken())

    def _taken(self) -> Iterator[Event]:
        while self._decided:
            yield self._decided.popleft()

    def _watch_thread(self) -> None:
        """Two looks in a row must find it at the same answer: time alone also passes for a halted machine."""
        stuck = self._answering and self._answering == self._answering_before
        if stuck or not self._thread.is_alive():
            self._fail()
            return
        self._answering_before = self._answering
        self._watch_timer = self._loop.call_later(ANSWER_DEADLINE_S, self._watch_thread)

    def _give_up(self) -> None:
        self._given_up = True
        self._group.give_up()

    def _fail(self) -> None:
        self._give_up()
        reason = "an open of a guarded file could not be answered: no file is guarded any more"
        self._batches.put(
            [
                SensorFailed(
                    time_ns=time.monotonic_ns(),
                    sandbox=HOST,
                    process=Process(pid=0),
                    tier=self.tier,
                    sensor="inode-guard",
                    reason=reason,
                )
            ]
        )
        self._batches.close()


def _described(pid: int) -> Process:
    try:
        return observe(pid).process
    except OSError:
        return Process(pid=pid)

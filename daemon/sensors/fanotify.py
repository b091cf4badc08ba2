"""Programs that are started from a container's root file system, whoever starts them.

The kernel tells of every open for execution: of the program, of the interpreter that its first line names and
of its loader. What is told is the file itself, so it is known also where the process has ended.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import SensorError
from daemon.events import Event, File, HostExecuted, ProcessExecuted, Tier
from daemon.sensors.attribution import HOST, container_of
from daemon.sensors.batches import Batches
from daemon.sensors.netlink import NetlinkSensor
from daemon.sensors.notification import (
    CLASS_NOTIFICATION,
    MARK_FILESYSTEM,
    OPEN_EXEC,
    OVERFLOW,
    Group,
    Notification,
)
from daemon.sensors.observation import host_namespaces, observe
from daemon.sensors.statx import file_of_descriptor, status_of

REMEMBERED = 4096
FILES_A_PROCESS = 8
PAGES_A_TURN = 8
_LOADER = re.compile(r"/ld[-.][^/]*$")  # of the C libraries: opened after the program itself
FORGOTTEN = ""
RETRY_S = 0.05
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Execution:
    time_ns: int
    sandbox: str
    pid: int
    file: File


class FanotifySensor:
    """Alone it reports ProcessExecuted, several a program, with the process as it was before the new one is
    in place. Beside the proc connector, which reports those itself, it lends it the files of processes that
    ended. In both cases it reports HostExecuted.
    """

    tier = Tier.NETLINK

    def __init__(self, beside: NetlinkSensor | None = None) -> None:
        """In the loop's thread. Raises SensorError where the host lacks it."""
        self._group = Group(CLASS_NOTIFICATION)
        self._beside: NetlinkSensor | None = None
        self._host = host_namespaces()["mnt_ns"]
        self._containers: dict[int, str] = {}
        self._opened: OrderedDict[int, list[tuple[str, File]]] = OrderedDict()
        self._pending: list[_Execution] = []
        self._pending_timer: asyncio.TimerHandle | None = None
        self._lost = {"overflow": 0, "unattributed": 0, "unreadable": 0}
        self._batches = Batches()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._group, self._read)
        self.join(beside)

    @property
    def lost(self) -> dict[str, int]:
        """overflow: times that the kernel's queue was full, after each of which an unknown number is missing;
        unattributed: ended before it was known whether they were of the container or of the host."""
        return {**self._lost, "behind": self._batches.dropped}

    def join(self, beside: NetlinkSensor | None) -> None:
        """Be beside this connector from now on, None: alone."""
        if beside is not self._beside and beside is not None:
            beside.ask(self.opened)
        self._beside = beside

    def watch(self, container: str, pid: int) -> None:
        """The root file system of the container, found by a process in it. Raises SensorError."""
        root = Path(f"/proc/{pid}/root")
        try:
            if (kind := _kind_of_root(pid)) != "overlay":
                raise SensorError(
                    f"fanotify: the root of container {container} is {kind}, perhaps the host's own file "
                    "system: use the engine's storage driver overlay2"
                )
            device = status_of(str(root)).device
            self._group.mark(MARK_FILESYSTEM, OPEN_EXEC, root)
        except OSError as error:
            raise SensorError(
                f"fanotify: {root}: {error.strerror}: the root of container {container} cannot be watched"
            ) from error
        self._containers[device] = container

    def forget(self, container: str) -> None:
        """Its mark goes with its file system, whose device number the next container may have."""
        for device, of in self._containers.items():
            if of == container:
                self._containers[device] = FORGOTTEN

    def opened(self, pid: int) -> tuple[str, File] | None:
        """Container and file of its first exec since it was last asked about."""
        self._read()
        opened = self._opened.get(pid, [])
        first = opened.pop(0) if opened else None
        if not opened:
            self._opened.pop(pid, None)
        return first

    def events(self) -> AsyncIterator[list[Event]]:
        return self._batches.iterate()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._group)
        if self._pending_timer:
            self._pending_timer.cancel()
        self._group.close()
        self._batches.close()

    def _read(self) -> None:
        if self._closed:  # and its number may be another's
            return
        try:
            for _ in range(PAGES_A_TURN):
                self._batches.put(self._page())
        except BlockingIOError:
            pass
        except SensorError as error:
            self._loop.remove_reader(self._group)
            self._batches.fail(error)

    def _page(self) -> Iterator[Event]:
        try:
            notifications = list(self._group.read())  # each has an open descriptor that is ours to close
        except BlockingIOError:
            raise
        except OSError:  # no descriptor was left for the file
            self._lost["unreadable"] += 1
            return
        for notification in notifications:
            yield from self._handled(notification)

    def _handled(self, notification: Notification) -> Iterator[Event]:
        if notification.mask & OVERFLOW:
            self._lost["overflow"] += 1
            return
        try:
            file = file_of_descriptor(notification.descriptor)
        finally:
            os.close(notification.descriptor)
        sandbox = self._containers.get(file.device)
        if sandbox is None:  # of a layer on another disk, that overlayfs gives a number of its own
            self._lost["unattributed"] += 1
        elif sandbox != FORGOTTEN:
            self._remember(notification.pid, sandbox, file)
            yield from self._judged(_Execution(time.monotonic_ns(), sandbox, notification.pid, file))

    def _judged(self, execution: _Execution) -> Iterator[Event]:
        origin = self._origin(execution.pid)
        if origin is None and self._wait_for(execution):
            return
        if origin is None:
            self._lost["unattributed"] += 1
        if origin != HOST and self._beside:
            return
        process = observe(execution.pid).process
        of_host = origin == HOST and process.mnt_ns in (self._host, 0)
        if of_host or self._beside is None:
            yield (HostExecuted if of_host else ProcessExecuted)(
                time_ns=execution.time_ns,
                sandbox=execution.sandbox if of_host else origin or execution.sandbox,
                process=process,
                tier=self.tier,
                file=execution.file,
            )

    def _wait_for(self, execution: _Execution) -> bool:
        """The connector may have been told, and not come to it yet."""
        young = time.monotonic_ns() - execution.time_ns < PATIENCE_S * 1e9
        if not (self._beside and young and len(self._pending) < REMEMBERED):
            return False
        self._pending.append(execution)
        if self._pending_timer is None:
            self._pending_timer = self._loop.call_later(RETRY_S, self._retry)
        return True

    def _retry(self) -> None:
        self._pending_timer = None
        pending, self._pending = self._pending, []
        for execution in pending:
            self._batches.put(self._judged(execution))

    def _origin(self, pid: int) -> str | None:
        """The cgroup first: what is remembered of a pid may be of an earlier process."""
        origin = container_of(pid)
        return self._beside.origin(pid) if origin is None and self._beside else origin

    def _remember(self, pid: int, sandbox: str, file: File) -> None:
        opened = self._opened.setdefault(pid, [])
        if len(opened) < FILES_A_PROCESS and not (opened and _LOADER.search(file.path)):
            opened.append((sandbox, file))
        if len(self._opened) > REMEMBERED:
            self._opened.popitem(last=False)


def _kind_of_root(pid: int) -> str:
    """As /proc/<pid>/mountinfo names the file system at / (proc_pid_mountinfo(5)); the topmost counts."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines()
    roots = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[4] == "/"]
    return roots[-1] if roots else "not mounted"

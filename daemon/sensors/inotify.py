"""Files of the host that tell of a break-in when they change: see watches.py.

inotify(7) tells no process and denies nothing. What it watches are inodes, so folders are watched here: a
file is heard of when it is replaced, one that is missing when it appears, and a folder on the way to either
when it is moved away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

from daemon.errors import SensorError
from daemon.events import Event, HostFileChanged, Process, Tier
from daemon.sensors.batches import Batches
from daemon.sensors.places import Places
from daemon.sensors.watches import Watch

with warnings.catch_warnings():
    # Python 3.11's asyncore announces its own end; pyinotify imports it for a class that is not used here.
    warnings.filterwarnings("ignore", "The asyncore module is deprecated", DeprecationWarning)
    import pyinotify

READ_BYTES: Final = 16_384
"""Some 500 events, or 5 ms of the loop."""
LOOK_INTERVAL_S: Final = 0.02
ATTEMPTS: Final = 8
_MOVES_LIMIT = 1024
_HEADER = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_NAMES = pyinotify.IN_CREATE | pyinotify.IN_DELETE | pyinotify.IN_MOVED_FROM | pyinotify.IN_MOVED_TO
_GONE = pyinotify.IN_DELETE_SELF | pyinotify.IN_MOVE_SELF | pyinotify.IN_UNMOUNT
_CONTENTS = pyinotify.IN_MODIFY | pyinotify.IN_ATTRIB
_CHANGES = {
    pyinotify.IN_CREATE: "created",
    pyinotify.IN_MODIFY: "modified",
    pyinotify.IN_ATTRIB: "attributes",
    pyinotify.IN_DELETE: "deleted",
    pyinotify.IN_MOVED_FROM: "moved",
    pyinotify.IN_MOVED_TO: "moved",
    pyinotify.IN_OPEN: "opened",
}
# By default it writes to the standard error output, and about watches that this module renews by itself.
pyinotify.log.handlers.clear()
pyinotify.log.setLevel(logging.CRITICAL)


class InotifySensor:
    """Reports HostFileChanged; the same change of the same file once a batch."""

    tier = Tier.INOTIFY

    def __init__(self, watches: Iterable[Watch] = ()) -> None:
        """In the loop's thread. Raises SensorError where the kernel has no instance or watch left."""
        self._watches = list(watches)
        self._places = Places(())
        self._folders: dict[int, str] = {}
        self._masks: dict[str, int] = {}
        self._states: dict[str, os.stat_result | None] = {}
        self._found: dict[tuple[str, str], Watch] = {}
        self._look_timer: asyncio.TimerHandle | None = None
        self._looked_s = 0.0
        self._overflow = self._unwatched = 0
        self._batches = Batches()
        self._closed = False
        self._manager = _manager()
        self._notifier = _Notifier(self._manager, self._handle)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._manager.get_fd(), self._read)
        try:
            self._start()
        except SensorError:
            self._stop()
            raise

    @property
    def lost(self) -> dict[str, int]:
        """overflow: times that the kernel's queue was full; unwatched: folders that could not be watched."""
        unwatched = self._unwatched + self._places.beyond
        return {"overflow": self._overflow, "unwatched": unwatched, "behind": self._batches.dropped}

    def add(self, watch: Watch) -> None:
        """From now on. Raises SensorError as the constructor does."""
        self._watches.append(watch)
        self._start()

    def remove(self, path: Path) -> None:
        self._watches = [watch for watch in self._watches if watch.path != path]
        self._start()

    def events(self) -> AsyncIterator[list[Event]]:
        return self._batches.iterate()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stop()

    def _start(self) -> None:
        """What a new watch finds is no change; of the others something may wait to be told."""
        before = self._unwatched + self._places.beyond
        self._renew()
        if self._unwatched + self._places.beyond > before:
            raise SensorError(
                "inotify: some folders cannot be watched: raise fs.inotify.max_user_watches and the limit of "
                "open files, or watch fewer"
            )
        self._states = {
            place: self._states[place] if place in self._states else _state(place)
            for place in self._places.files
        }

    def _stop(self) -> None:
        self._loop.remove_reader(self._manager.get_fd())
        if self._look_timer:
            self._look_timer.cancel()
        self._notifier.stop()
        self._batches.close()

    def _read(self) -> None:
        self._notifier.read_events()
        self._notifier.process_events()
        self._tell()

    def _tell(self) -> None:
        self._batches.put([self._event(path, change, watch) for (path, change), watch in self._found.items()])
        self._found.clear()

    def _event(self, path: str, change: str, watch: Watch) -> Event:
        return HostFileChanged(
            time_ns=time.monotonic_ns(),
            sandbox=watch.sandbox,
            process=Process(pid=0),
            tier=self.tier,
            path=path,
            change=change,
            role=watch.role,
        )

    def _handle(self, event: pyinotify.Event) -> None:
        if event.mask & pyinotify.IN_Q_OVERFLOW:  # it has no watch
            self._overflow += 1
            self._look_soon()
            return
        folder = self._folders.get(event.wd)
        if folder is not None and event.mask & (_GONE | pyinotify.IN_IGNORED):
            self._forget(event.wd)
            self._look_soon()
        elif folder is not None and event.name:
            self._changed(folder, event.name, event.mask)

    def _changed(self, folder: str, name: str, mask: int) -> None:
        path, change = f"{folder.rstrip('/')}/{name}", _CHANGES[mask & ~pyinotify.IN_ISDIR]
        watch = self._places.watch_of(folder, name)
        if mask & _NAMES and (watch is not None or path in self._places.above):
            self._look_soon()
        arrived = bool(mask & (pyinotify.IN_CREATE | pyinotify.IN_MOVED_TO))
        if watch is not None and self._matters(path, change, watch, arrived=arrived):
            self._found[path, change] = watch

    def _matters(self, path: str, change: str, watch: Watch, *, arrived: bool) -> bool:
        """Not an open of what lies beside a canary, the growth of a log, or what had come already."""
        before, now = self._states.get(path), _state(path)
        if path in self._places.files:
            self._states[path] = now
        if change == "opened":
            return watch.opens
        if change == "modified" and watch.appends:
            return before is None or now is None or now.st_size < before.st_size
        return not (arrived and _same(before, now))

    def _look_soon(self) -> None:
        """At most so often: whoever owns a watched folder can change it as fast as he likes."""
        if self._look_timer is None:
            self._look_timer = self._loop.call_at(self._looked_s + LOOK_INTERVAL_S, self._look)

    def _look(self) -> None:
        """Watches what has come, and tells what happened to it before it was watched."""
        self._look_timer = None
        self._looked_s = self._loop.time()
        before = set(self._masks)
        self._renew()
        for folder in self._places.within.keys() - before:
            for path in self._entries(folder):
                self._found[path, "created"] = self._places.within[folder]
        for place, watch in self._places.files.items():
            was, now = self._states.get(place), _state(place)
            self._states[place] = now
            if change := _difference(was, now):
                self._found[place, change] = watch
        self._tell()

    def _entries(self, folder: str) -> list[str]:
        try:
            return [str(path) for path in Path(folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self._unwatched += 1
            return []

    def _renew(self) -> None:
        """Again until nothing has changed meanwhile: a folder may come or go while others are watched."""
        for _ in range(ATTEMPTS):
            self._places = Places(self._watches)
            folders = self._places.folders().items()
            wanted = {folder: self._mask(folder, near=near) for folder, near in folders}
            if wanted == self._masks:
                break
            self._apply(wanted)

    def _mask(self, folder: str, *, near: bool) -> int:
        mask = _NAMES | _GONE | pyinotify.IN_ONLYDIR
        mask |= _CONTENTS if near else 0
        return mask | (pyinotify.IN_OPEN if self._places.opens(folder) else 0)

    def _apply(self, wanted: dict[str, int]) -> None:
        for number, folder in list(self._folders.items()):
            if folder not in wanted:
                self._forget(number)
        for folder, mask in wanted.items():
            if self._masks.get(folder) != mask:
                self._watch(folder, mask)

    def _watch(self, folder: str, mask: int) -> None:
        """By a descriptor: pyinotify refuses names that are not valid UTF-8."""
        try:
            descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone again
        except OSError:
            self._unwatched += 1
            return
        try:
            (number,) = self._manager.add_watch(f"/proc/self/fd/{descriptor}", mask, quiet=False).values()
        except pyinotify.WatchManagerError:
            self._unwatched += 1
        else:
            self._folders[number] = folder
        finally:
            os.close(descriptor)
        self._masks[folder] = mask

    def _forget(self, number: int) -> None:
        self._masks.pop(self._folders.pop(number), None)
        self._manager.rm_watch(number)


class _Notifier(pyinotify.Notifier):
    """pyinotify's own reads all that there is at once, and fails for good on a name that is not UTF-8."""

    def __init__(self, manager: pyinotify.WatchManager, handle: Callable[[pyinotify.Event], None]) -> None:
        super().__init__(manager, handle)
        self._descriptor = manager.get_fd()

    def read_events(self) -> None:
        """What repeats in a batch is dropped here, as it costs the least here; not the coming and going."""
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        seen = set()
        while data:
            number, mask, cookie, length = _HEADER.unpack_from(data)
            end = _HEADER.size + length
            name = os.fsdecode(data[_HEADER.size : end].rstrip(b"\0"))
            data = data[end:]
            if (number, mask, name) not in seen or mask & _NAMES:
                seen.add((number, mask, name))
                self.append_event(pyinotify._RawEvent(number, mask, cookie, name))  # noqa: SLF001 - it has no other

    def process_events(self) -> None:
        super().process_events()
        moves = self._sys_proc_fun._mv_cookie  # noqa: SLF001 - kept for a minute, and searched each time
        if len(moves) > _MOVES_LIMIT:
            moves.clear()


def _manager() -> pyinotify.WatchManager:
    try:
        manager = pyinotify.WatchManager()
    except OSError as error:
        raise SensorError(
            f"inotify: {error}: raise fs.inotify.max_user_instances or the limit of open files"
        ) from error
    os.set_inheritable(manager.get_fd(), False)
    os.set_blocking(manager.get_fd(), False)
    return manager


def _state(path: str) -> os.stat_result | None:
    try:
        return Path(path).lstat()
    except OSError:
        return None


def _same(before: os.stat_result | None, now: os.stat_result | None) -> bool:
    return before is not None and now is not None and os.path.samestat(before, now)


def _difference(before: os.stat_result | None, now: os.stat_result | None) -> str:
    if before is None or now is None:
        return "" if before is now else "created" if now else "deleted"
    return "" if _same(before, now) else "moved"

"""As much of pyinotify 0.9.6 as is used here; it has no types of its own."""

from collections.abc import Callable
from logging import Logger

IN_MODIFY: int
IN_ATTRIB: int
IN_OPEN: int
IN_MOVED_FROM: int
IN_MOVED_TO: int
IN_CREATE: int
IN_DELETE: int
IN_DELETE_SELF: int
IN_MOVE_SELF: int
IN_UNMOUNT: int
IN_Q_OVERFLOW: int
IN_IGNORED: int
IN_ISDIR: int
IN_ONLYDIR: int

log: Logger

class WatchManagerError(Exception): ...

class Event:
    wd: int
    mask: int
    name: str

class _RawEvent:
    def __init__(self, wd: int, mask: int, cookie: int, name: str) -> None: ...

class WatchManager:
    def get_fd(self) -> int: ...
    def add_watch(self, path: str, mask: int, *, quiet: bool = True) -> dict[str, int]: ...
    def rm_watch(self, wd: int, *, quiet: bool = True) -> dict[int, bool]: ...

class _SysProcessEvent:
    _mv_cookie: dict[int, object]

class Notifier:
    _sys_proc_fun: _SysProcessEvent
    def __init__(self, watch_manager: WatchManager, default_proc_fun: Callable[[Event], None]) -> None: ...
    def read_events(self) -> None: ...
    def process_events(self) -> None: ...
    def append_event(self, event: _RawEvent) -> None: ...
    def stop(self) -> None: ...

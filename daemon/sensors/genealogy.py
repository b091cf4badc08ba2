"""Who descends from whom: a child is of its parent's container, however short it lives."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from daemon.events import Process
from daemon.sensors.attribution import HOST

LIMIT: Final = 131_072
"""Processes kept; the oldest is forgotten first, and attributed anew when it is seen again."""
ENDED_LIMIT: Final = 8192
LINEAGE_LIMIT: Final = 16
# Their children may be put into a container at any moment; names as the kernel cuts them (15 bytes).
_RUNTIMES = frozenset({"containerd-shim", "runc", "crun", "youki", "runsc", "conmon", "exe"})
_NAMES_ITS_STAGES = ("containerd-shim", "runc", "exe")  # the last is how runc starts itself
RUNC_LAST_STAGE: Final = "runc:[2:INIT]"
"""Of libcontainer/nsenter, after runc:[0:PARENT] and runc:[1:CHILD]: it becomes the container's program."""


@dataclass(slots=True)
class Kin:
    """What is known of one process."""

    container: str
    process: Process
    runtime: str = ""
    """Of the host, yet descended from this container runtime: it may be in a container by now."""
    inside: bool = False
    """It runs a program of the container: no longer the runtime that prepares it."""
    brought: str = ""
    """The container that a child of this one came into."""


class Genealogy:
    """Every process of the host, by pid; `on_empty` is called with a container whose last one ended."""

    def __init__(self, on_empty: Callable[[str], None], limit: int = LIMIT) -> None:
        self._on_empty = on_empty
        self._limit = limit
        self._living: OrderedDict[int, Kin] = OrderedDict()
        self._ended: OrderedDict[int, str] = OrderedDict()
        self._members: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._living)

    def get(self, pid: int) -> Kin | None:
        return self._living.get(pid)

    def pids(self) -> list[int]:
        return list(self._living)

    def origin(self, pid: int) -> str | None:
        """The container of a process that lives or has lately ended, HOST, or None if it is not known."""
        kin = self._living.get(pid)
        return kin.container if kin else self._ended.get(pid)

    def put(self, pid: int, kin: Kin) -> None:
        self.forget(pid)
        self._living[pid] = kin
        self._members[kin.container] += 1
        if len(self._living) > self._limit:
            self.forget(next(iter(self._living)))

    def ended(self, pid: int) -> Kin | None:
        kin = self.forget(pid)
        if kin:
            self._ended[pid] = kin.container
            if len(self._ended) > ENDED_LIMIT:
                self._ended.popitem(last=False)
        return kin

    def forget(self, pid: int) -> Kin | None:
        self._ended.pop(pid, None)
        kin = self._living.pop(pid, None)
        if kin:
            self._members[kin.container] -= 1
            if not self._members[kin.container]:
                del self._members[kin.container]
                if kin.container != HOST:
                    self._on_empty(kin.container)
        return kin


def child_of(parent: Kin, pid: int) -> Kin:
    """As it is at birth: all but the pid is the parent's."""
    before = parent.process
    process = replace(
        before,
        pid=pid,
        tid=pid,
        ppid=before.pid,
        lineage=(before.exe, *before.lineage)[:LINEAGE_LIMIT] if parent.inside else (),
        ancestors=(before.pid, *before.ancestors)[:LINEAGE_LIMIT] if parent.inside else (),
    )
    return replace(parent, process=process, brought="")


def is_runtime(comm: str) -> bool:
    return comm in _RUNTIMES or comm.startswith("runc:[")


def may_have_entered(kin: Kin) -> bool:
    """Whether one that ended unseen may have been a container's: runc's tell by name, others do not."""
    tells = kin.runtime.startswith(_NAMES_ITS_STAGES)
    return kin.process.comm == RUNC_LAST_STAGE or bool(kin.runtime and not tells)

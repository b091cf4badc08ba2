"""The processes of all sandboxes, as their events tell them: who runs what, and who began it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from daemon.events import Enrolled, Event, Process, ProcessExecuted, ProcessForked

REMEMBERED = 65_536
DEPTH = 16

E = TypeVar("E", bound=Event)


@dataclass(slots=True)
class _Known:
    sandbox: str
    ppid: int
    exe: str = ""
    argv: tuple[str, ...] = ()
    time_ns: int = 0
    """Of the event that told it."""


class ProcessTable:
    """Ended processes stay until REMEMBERED newer ones came: a finding may come after its process ended."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, event: Event) -> None:
        """Cheap, for every event: only those that change the table do anything."""
        if isinstance(event, ProcessForked):
            if self._has_overtaken(event):
                return
            parent = self._known.get(event.process.ppid)
            exe, argv = (parent.exe, parent.argv) if parent else ("", ())
            self._put(event.process.pid, _Known(event.sandbox, event.process.ppid, exe, argv, event.time_ns))
        elif isinstance(event, ProcessExecuted):
            known = _Known(event.sandbox, event.process.ppid, event.file.path, event.argv, event.time_ns)
            self._put(event.process.pid, known)
        elif isinstance(event, Enrolled):
            self.add(event.sandbox, event.process)

    def _has_overtaken(self, fork: ProcessForked) -> bool:
        """An exec that is an alert comes before what its process did until then."""
        known = self._known.get(fork.process.pid)
        return known is not None and known.time_ns > fork.time_ns

    def described(self, event: E) -> E:
        """The same event with what is known of its process."""
        process = event.process
        known = self._known.get(process.pid)
        if known is None or known.sandbox != event.sandbox:
            return event
        ancestors = self._ancestors(known, process.ppid or known.ppid)
        described = replace(
            process,
            exe=process.exe or known.exe,
            argv=process.argv or known.argv,
            lineage=tuple(ancestor.exe for _, ancestor in ancestors),
            ancestors=tuple(pid for pid, _ in ancestors),
        )
        return replace(event, process=described)

    def announced(self, pid: int) -> bool:
        return pid in self._known

    def of(self, sandbox: str, among: int) -> Iterator[Process]:
        """Of the newest `among` of all sandboxes, the newest first: running or ended."""
        for pid, known in islice(reversed(self._known.items()), among):
            if known.sandbox == sandbox:
                yield Process(pid=pid, ppid=known.ppid, exe=known.exe, argv=known.argv)

    def add(self, sandbox: str, process: Process) -> None:
        """Found already running."""
        if process.pid not in self._known:
            self._put(process.pid, _Known(sandbox, process.ppid, process.exe, process.argv))

    def _put(self, pid: int, known: _Known) -> None:
        self._known[pid] = known
        self._known.move_to_end(pid)
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)

    def _ancestors(self, known: _Known, ppid: int) -> list[tuple[int, _Known]]:
        found: list[tuple[int, _Known]] = []
        while len(found) < DEPTH and (parent := self._known.get(ppid)) and parent.sandbox == known.sandbox:
            found.append((ppid, parent))
            if parent.ppid == ppid:
                break
            ppid = parent.ppid
        return found

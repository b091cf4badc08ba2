"""From the connector's messages to events: each process placed in its container, described and judged.

The kernel tells pids and little else, so the rest is read from /proc at once. A process that ended by then
is still its parent's child: it is reported with its container, its lineage and what its parent had.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.events import (
    Drift,
    Enrolled,
    Event,
    File,
    Process,
    ProcessExecuted,
    ProcessExited,
    ProcessForked,
    ProcessTouched,
    SyscallMade,
    Tier,
)
from daemon.sensors.attribution import HOST, age_s, container_of, other_thread, read_proc, start_ticks
from daemon.sensors.connector import Message, What
from daemon.sensors.drift import Baselines, Expect
from daemon.sensors.genealogy import RUNC_LAST_STAGE, Genealogy, Kin, child_of, is_runtime, may_have_entered
from daemon.sensors.observation import (
    UNKNOWN_FILE,
    Observation,
    inet_stdio_of,
    is_privileged_by_file,
    last_pid_of,
    observe,
    preloads_of,
)

YOUNG_NS = 500_000_000
"""Arguments and environment are read of a program that started no longer ago: see observation.py."""
PREPARATION_S = 1.0
"""A runtime does not take longer between two of its steps."""


Opened = Callable[[int], tuple[str, File] | None]
"""What a process had executed, and of which container's file system that is."""


class Processes:
    """`opened` is asked about processes that ended."""

    def __init__(self, expect: Expect, opened: Opened = lambda pid: None) -> None:
        self.opened = opened
        self.unattributed = 0
        """Processes that ended before it could be told in which container they were."""
        self.unplaced = 0
        """Children of a runtime that ended as soon, and were most likely its own helpers."""
        self._baselines = Baselines(expect)
        self._kin = Genealogy(self._baselines.forget)
        self._leaderless: set[int] = set()

    def origin(self, pid: int) -> str | None:
        """The container of a process that lives or has lately ended, HOST, or None if it is not known."""
        return self._kin.origin(pid)

    def survey(self, time_ns: int) -> Iterator[Event]:
        """Forgets who is gone and finds those that nobody told of, the oldest first."""
        running = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
        known = set(self._kin.pids())
        for pid in known - running:
            self._kin.forget(pid)
        self._leaderless &= running
        for _, pid in sorted((start_ticks(pid), pid) for pid in running - known):
            with suppress(OSError):
                unknown, container = Kin(HOST, Process(pid=pid)), container_of(pid)
                yield from self._place(pid, unknown, time_ns, container, already_running=True)

    def told(self, message: Message) -> Iterator[Event]:
        """Raises OSError where /proc refuses to tell."""
        match message.what:
            case What.FORK:
                return self._forked(message)
            case What.EXEC:
                return self._executed(message)
            case What.EXIT:
                return self._exited(message)
            case What.UID | What.GID:
                return self._changed_identity(message)
            case What.PTRACE:
                return self._traced(message)
            case What.COMM:
                self._renamed(message)
        return iter(())

    def _forked(self, message: Message) -> Iterator[Event]:
        _, parent_pid, child_tid, pid = message.numbers
        if child_tid != pid:
            return  # a thread
        if self._kin.get(parent_pid) is None:
            yield from self._place(parent_pid, None, message.time_ns, container_of(parent_pid))
        parent = self._kin.get(parent_pid)
        child = child_of(parent, pid) if parent else None
        if child and child.container != HOST:
            self._kin.put(pid, child)
            yield ProcessForked(**_of(child, message.time_ns))
        else:
            yield from self._place(pid, child, message.time_ns, container_of(pid))

    def _executed(self, message: Message) -> Iterator[Event]:
        pid = message.numbers[1]
        opened = self.opened(pid)  # asked each time, lest it answer the next time
        kin = self._kin.get(pid)
        if kin is None or kin.container == HOST:
            yield from self._place(pid, kin, message.time_ns, container_of(pid) or _entered(kin, opened))
            kin = self._kin.get(pid)
        if kin is None or kin.container == HOST:
            return
        before = kin.process
        young = time.monotonic_ns() - message.time_ns < YOUNG_NS
        seen = _observed_program(before, opened[1] if opened else UNKNOWN_FILE, young=young)
        kin.process = seen.process
        kin.inside = kin.inside or self._enters(kin, before)
        drift = self._judged(kin, seen)
        if kin.inside or seen.root is None:
            execution = self._execution(kin, seen, message.time_ns, drift)
            yield replace(execution, preloads=preloads_of(pid)) if young else execution

    def _execution(self, kin: Kin, seen: Observation, time_ns: int, drift: Drift) -> ProcessExecuted:
        process, baseline = seen.process, self._baselines.of(kin.container)
        return ProcessExecuted(
            **_of(kin, time_ns, drift),
            file=seen.file,
            argv=process.argv,
            inet_stdio=inet_stdio_of(process.pid),
            privileged_by_file=is_privileged_by_file(process.pid),
            fresh=baseline is not None and seen.file.changed_ns > baseline.started_ns,
        )

    def _exited(self, message: Message) -> Iterator[Event]:
        """With the last thread: a program may go on without its first."""
        tid, pid, status, _ = message.numbers
        if tid != pid and pid not in self._leaderless:
            return
        if other_thread(pid):
            self._leaderless.add(pid)
            return
        self._leaderless.discard(pid)
        kin = self._kin.ended(pid)
        if kin and kin.container != HOST:
            yield ProcessExited(**_of(kin, message.time_ns), code=status >> 8 & 0xFF, signal=status & 0x7F)

    def _changed_identity(self, message: Message) -> Iterator[Event]:
        """The connector does not tell by which call: the one is named that can do what all the others can."""
        tid, pid, real, effective = message.numbers
        kin = self._kin.get(pid)
        if kin is None or not kin.inside:
            return
        seen = observe(tid, replace(kin.process, tid=tid))  # a thread alone may change, by the system call
        if message.what == What.UID:
            seen = replace(seen, process=replace(seen.process, uid=effective))
        if tid == pid:
            kin.process = seen.process
        changed, drift = replace(kin, process=seen.process), self._judged(kin, seen)
        call = "setresuid" if message.what == What.UID else "setresgid"
        yield SyscallMade(**_of(changed, message.time_ns, drift), syscall=call, arguments=(real, effective))

    def _traced(self, message: Message) -> Iterator[Event]:
        _, target, _, tracer = message.numbers
        kin = self._kin.get(tracer)
        if kin is None or kin.container == HOST:
            return  # tracer 0: the end of it
        traced = self._kin.get(target)
        yield ProcessTouched(
            **_of(kin, message.time_ns),
            syscall="ptrace",
            target_pid=last_pid_of(target),
            descendant=traced is not None and tracer in traced.process.ancestors,
        )

    def _renamed(self, message: Message) -> None:
        """runc names its stages by prctl(2), told in order with all else, and even where they have ended."""
        pid = message.numbers[1]
        kin = self._kin.get(pid)
        if kin and kin.container != HOST:
            kin.process = replace(kin.process, comm=message.comm)
        elif is_runtime(message.comm):
            known = kin or Kin(HOST, Process(pid=pid))
            named = replace(known.process, comm=message.comm)
            self._kin.put(pid, replace(known, process=named, runtime=message.comm))

    def _place(
        self,
        pid: int,
        inherited: Kin | None,
        time_ns: int,
        container: str | None,
        *,
        already_running: bool = False,
    ) -> Iterator[Event]:
        """One that was not in a container as far as is known, and is in this one now; None: it has ended."""
        if container:
            kin, drift = self._come_in(pid, container, already_running=already_running)
            if self._is_told(inherited, container):
                yield ProcessForked(**_of(kin, time_ns, drift))
            else:
                yield Enrolled(**_of(kin, time_ns, drift), already_running=already_running)
            return
        comm = (read_proc(pid, "comm") or b"").decode(errors="replace").rstrip("\n")
        runtime = comm if is_runtime(comm) else inherited.runtime if inherited else ""
        if container is None:
            lost = inherited is None or may_have_entered(inherited)
            self.unattributed += lost
            self.unplaced += bool(runtime) and not lost
            comm = inherited.process.comm if inherited else ""
        ppid, brought = (inherited.process.ppid, inherited.brought) if inherited else (0, "")
        self._kin.put(pid, Kin(HOST, Process(pid=pid, ppid=ppid, comm=comm), runtime, brought=brought))

    def _is_told(self, entering: Kin | None, container: str) -> bool:
        """runc's stages come in one after the other, each as a child of runc (CLONE_PARENT): one entry."""
        parent = self._kin.get(entering.process.ppid) if entering else None
        if parent is None or not parent.runtime:
            return False
        before, parent.brought = parent.brought, container
        return before == container

    def _come_in(self, pid: int, container: str, *, already_running: bool) -> tuple[Kin, Drift]:
        seen = observe(pid)
        kin = Kin(container, seen.process)
        parent = self._kin.get(seen.process.ppid)
        if parent and parent.container == container:
            born = child_of(parent, pid).process
            kin.process = replace(seen.process, lineage=born.lineage, ancestors=born.ancestors)
        self._kin.put(pid, kin)
        kin.inside = already_running and (age_s(pid) > PREPARATION_S or not is_runtime(seen.process.comm))
        return kin, self._judged(kin, seen)

    def _enters(self, kin: Kin, before: Process) -> bool:
        """Whether an exec was that of the container's program, and not of the runtime that prepares it.

        Where the process is by the time that it is looked at proves nothing: a program can be out again.
        """
        if is_runtime(before.comm) and before.comm != RUNC_LAST_STAGE:
            return self._baselines.is_inside(kin.container, kin.process)
        return True

    def _judged(self, kin: Kin, seen: Observation) -> Drift:
        """The runtime's own steps are not, nor is what could be read only in part."""
        complete = seen.root is not None
        return self._baselines.judge(kin.container, seen) if kin.inside and complete else Drift.NONE


def _entered(kin: Kin | None, opened: tuple[str, File] | None) -> str | None:
    """The container whose program a runtime's child executed before it ended; no other's child came in."""
    return opened[0] if opened and (kin is None or kin.runtime) else None


def _observed_program(before: Process, opened: File, *, young: bool) -> Observation:
    seen = observe(before.pid, replace(before, exe="", argv=(), comm=""), arguments=young)
    if seen.file is not UNKNOWN_FILE:
        return seen
    return replace(seen, file=opened, process=replace(seen.process, exe=opened.path))


def _of(kin: Kin, time_ns: int, drift: Drift = Drift.NONE) -> dict[str, Any]:
    return {
        "time_ns": time_ns,
        "sandbox": kin.container,
        "process": kin.process,
        "tier": Tier.NETLINK,
        "drift": drift,
    }

"""`python -m daemon.forensics.worker LIMITS <TASK`: makes one file of evidence, beside the daemon.

Composing it takes tens of milliseconds, for which the daemon's loop must not wait.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from daemon.events import Process, ProcessExecuted
from daemon.forensics import changes
from daemon.forensics.task import Task, Told
from daemon.plain import plain, within
from daemon.sensors.replay import encode

READING_DEADLINE_S = 3.0
PART_BYTES = 256 << 10
NICENESS = 10

Json = dict[str, Any]


def collect(task: Task) -> Told:
    """Raises OSError, ValueError where no file could be made."""
    problems = list(task.problems)
    running = _tried("processes", problems, lambda: _running(task))
    changed = _tried("changes", problems, lambda: changes.of_root(task.changes))
    present = _tried("workspace", problems, lambda: _workspace(task))
    processes, events = _together(running, _known(task)), _events(task)
    evidence = {
        "summary": task.summary,
        "findings": task.findings,
        "processes": processes,
        "events": events,
        "changes": [*changed, *present],
        "problems": problems,
    }
    sha256 = task.store.put(task.summary["id"], task.summary["owner_uid"], evidence)
    return Told(sha256, len(processes), len(events), len(changed) + len(present), problems)


def _tried(what: str, problems: list[str], read: Callable[[], list[Json]]) -> list[Json]:
    try:
        return read()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        problems.append(f"{what}: {type(error).__name__}: {error}"[:300])
        return []


def _running(task: Task) -> list[Json]:
    """By a process that can be given up: a workload may hold up who reads its memory map."""
    if not task.alive:
        return []
    command = [sys.executable, "-s", "-E", "-m", "daemon.forensics.live", task.summary["container_id"]]
    done = subprocess.run(  # noqa: S603  this very program
        command, capture_output=True, check=True, timeout=READING_DEADLINE_S
    )
    running: list[Json] = json.loads(done.stdout)
    return running


def _workspace(task: Task) -> list[Json]:
    return [] if task.workspace is None else changes.of_workspace(task.workspace)


def _known(task: Task) -> dict[int, Process]:
    """By pid, as its events tell: the table of all processes may have forgotten them in a flood."""
    found = {process.pid: process for process in task.known}
    for event in task.events:
        if isinstance(event, ProcessExecuted):
            found[event.process.pid] = replace(event.process, exe=event.file.path, argv=event.argv)
    return found


def _together(running: list[Json], known: dict[int, Process]) -> list[Json]:
    """Those that run, with the arguments that they were started with; then those that have ended."""
    alive = {process["pid"] for process in running}
    for process in running:
        told = known.get(process["pid"])
        process["argv"] = plain(told.argv) if told else []
    ended = (_ended(process) for pid, process in known.items() if pid not in alive)
    return [*running, *within(ended, _size, PART_BYTES)]


def _ended(process: Process) -> Json:
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "pid_inside": 0,
        "uid": None,
        "state": "",
        "threads": 0,
        "exe": plain(process.exe),
        "cwd": "",
        "root": "",
        "open_files": [],
        "maps": [],
        "cut": False,
        "argv": plain(process.argv),
    }


def _events(task: Task) -> list[Json]:
    """The newest that fit, the oldest of them first."""
    newest: Iterator[Json] = (plain(json.loads(encode(event))) for event in reversed(task.events))
    return within(newest, _size, PART_BYTES)[::-1]


def _size(part: Json) -> int:
    return len(json.dumps(part))


def main() -> None:
    with suppress(OSError):  # the unit's system call filter has no setpriority(2)
        os.nice(NICENESS)
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301  from the daemon itself
    json.dump(asdict(collect(task)), sys.stdout)


if __name__ == "__main__":
    main()

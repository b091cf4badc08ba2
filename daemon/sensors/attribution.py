"""Which container a process is in, by the cgroup that the engine put it into."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HOST: Final = ""
_GONE = (FileNotFoundError, ProcessLookupError)
_READ_BYTES = 1 << 16
# As Docker, containerd, CRI-O and Podman name them, by either cgroup driver.
_PREFIX = rb"(?:docker|cri-containerd|crio|libpod)-"
_CONTAINER = re.compile(rb"[/:](?:%b)?([0-9a-f]{64})(?:\.scope)?(?=[/\n]|$)" % _PREFIX)
_LINKS_OF_ONE_THREAD = 3
_PF_EXITING = 0x4  # include/linux/sched.h
_FLAGS_FIELD, _START_FIELD = 6, 19  # of proc_pid_stat(5), counted from the one after the name


def container_in(membership: bytes) -> str:
    """The container's id in the text of /proc/<pid>/cgroup (cgroups(7)), or HOST.

    The outermost of a path: a workload may make child cgroups of its own, and name them as it likes.
    """
    match = _CONTAINER.search(membership)
    return match[1].decode() if match else HOST


def container_of(pid: int) -> str | None:
    """The container of a running process or HOST; None if it has ended. Raises OSError if it is not told.

    cgroup v1 shows a task that is exiting in the root, like one of the host: that is an end, too.
    """
    membership = read_proc(pid, "cgroup")
    if membership is None:
        return None
    container = container_in(membership)
    if container != HOST or not is_exiting(pid):
        return container
    other = other_thread(pid)
    return None if other is None else container_of(other)


def is_exiting(tid: int) -> bool:
    stat = read_proc(tid, "stat")
    return stat is None or bool(int(stat.rpartition(b")")[2].split()[_FLAGS_FIELD]) & _PF_EXITING)


def other_thread(pid: int) -> int | None:
    """One that runs, where the first has ended: /proc/<tid> then tells what /proc/<pid> no longer can."""
    return next((tid for tid in threads_of(pid) if tid != pid and not is_exiting(tid)), None)


def threads_of(pid: int) -> list[int]:
    """Its first is among them until the process is gone."""
    with while_running(pid):
        return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    return []


@contextmanager
def while_running(pid: int) -> Iterator[None]:
    """Leaves the block where the process has ended. The kernel may then also say that it is not permitted."""
    try:
        yield
    except PermissionError:
        if not is_exiting(pid):
            raise
    except _GONE:
        pass


def read_proc(pid: int, name: str, limit_bytes: int = _READ_BYTES) -> bytes | None:
    """At most so much of a file below /proc/<pid>; None if the process has ended."""
    with while_running(pid):
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, limit_bytes)
        finally:
            os.close(descriptor)
    return None


def ran_ns(pid: int) -> int | None:
    """How long it has run; None if it has ended or has other threads, which may run without its first.

    By /proc/<pid>/schedstat (Documentation/scheduler/sched-stats.rst), which some kernels do not have.
    """
    try:
        alone = os.stat(f"/proc/{pid}/task").st_nlink == _LINKS_OF_ONE_THREAD  # noqa: PTH116  # for each process
        schedstat = read_proc(pid, "schedstat") if alone else None
    except OSError:
        return None
    return int(schedstat.split()[0]) if schedstat else None


def start_ticks(pid: int) -> int:
    """When it was started, in clock ticks since boot (proc_pid_stat(5)); 0 if it has ended."""
    stat = read_proc(pid, "stat")
    return int(stat.rpartition(b")")[2].split()[_START_FIELD]) if stat else 0


def age_s(pid: int) -> float:
    """Since its start; of one that has ended, since that of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks(pid) / os.sysconf("SC_CLK_TCK")

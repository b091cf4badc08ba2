"""Which container a process is in, by the cgroup that the engine put it into."""

from __future__ import annotations

import os
import re
from typing import Final

HOST: Final = ""
_GONE = (FileNotFoundError, ProcessLookupError)
_READ_BYTES = 1 << 16
# As Docker, containerd, CRI-O and Podman name them, by either cgroup driver.
_PREFIX = rb"(?:docker|cri-containerd|crio|libpod)-"
_CONTAINER = re.compile(rb"[/:](?:%b)?([0-9a-f]{64})(?:\.scope)?(?=[/\n]|$)" % _PREFIX)
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

    cgroup v1 shows a process that is exiting in the root, like one of the host: that is an end, too.
    """
    membership = read_proc(pid, "cgroup")
    if membership is None:
        return None
    container = container_in(membership)
    return None if container == HOST and _is_exiting(pid) else container


def _is_exiting(pid: int) -> bool:
    stat = read_proc(pid, "stat")
    return stat is None or bool(int(stat.rpartition(b")")[2].split()[_FLAGS_FIELD]) & _PF_EXITING)


def read_proc(pid: int, name: str, limit_bytes: int = _READ_BYTES) -> bytes | None:
    """At most so much of a file below /proc/<pid>; None if the process has ended."""
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except _GONE:
        return None
    try:
        return os.read(descriptor, limit_bytes)
    except _GONE:
        return None
    finally:
        os.close(descriptor)


def start_ticks(pid: int) -> int:
    """When it was started, in clock ticks since boot (proc_pid_stat(5)); 0 if it has ended."""
    stat = read_proc(pid, "stat")
    return int(stat.rpartition(b")")[2].split()[_START_FIELD]) if stat else 0

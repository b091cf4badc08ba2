# ruff: noqa: PTH115, PTH123 - it is read in a race with its end, and a Path doubles the cost of a call
"""What /proc tells of one process, as events have it.

A workload must not be able to hold the reader up. Its files are asked about without asking their file system.
Command line and environment lie in its memory, whose lock it can hold some 30 ms a GiB by forking over and
over: they are read only where that is asked for, and should be only of a program that has just started. (The
kernel neither waits for a userfaultfd nor reads memory that a file backs: FOLL_ANON in fs/proc/base.c.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from daemon.events import File, Process
from daemon.sensors.attribution import other_thread, read_proc, while_running
from daemon.sensors.statx import status_of

ARGUMENTS_BYTES: Final = 512
ENVIRONMENT_BYTES: Final = 2048
SOCKETS_BYTES: Final = 1 << 18
UNKNOWN_FILE: Final = File(path="", resolved=False)
_AT_SECURE = 23  # linux/auxvec.h
_PRELOADS = ("LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH=")
_NAMESPACES = {"mnt_ns": "mnt", "pid_ns": "pid", "net_ns": "net", "user_ns": "user"}


@dataclass(frozen=True, slots=True)
class Observation:
    """As much as could be read before the process ended; the rest is as it was known before."""

    process: Process
    file: File
    """Its program; UNKNOWN_FILE where it had ended."""
    root: tuple[int, int] | None
    """Device and inode of its root directory. Read last: if it is there, so is all else."""


def observe(pid: int, known: Process | None = None, *, arguments: bool = False) -> Observation:
    """The program first, as it is lost first. Raises OSError where /proc may not be read."""
    process = known or Process(pid=pid, tid=pid)
    file = program_of(pid)
    if file is UNKNOWN_FILE and (other := other_thread(pid)):
        pid, file = other, program_of(other)
    if file is not UNKNOWN_FILE:
        process = replace(process, exe=file.path)
    if arguments:
        process = replace(process, argv=arguments_of(pid))
    process = replace(process, **_status(pid), **_namespaces(pid))
    return Observation(process, file, _root(pid))


def program_of(pid: int) -> File:
    """By /proc/<pid>/exe, that leads to the file itself even where it was removed or is in another mount."""
    with while_running(pid):
        path = os.readlink(f"/proc/{pid}/exe")
        return status_of(f"/proc/{pid}/exe").as_file(path)
    return UNKNOWN_FILE


def arguments_of(pid: int) -> tuple[str, ...]:
    """Cut at ARGUMENTS_BYTES. The program may have overwritten them."""
    return _strings(read_proc(pid, "cmdline", ARGUMENTS_BYTES) or b"")


def preloads_of(pid: int) -> tuple[str, ...]:
    environment = _strings(read_proc(pid, "environ", ENVIRONMENT_BYTES) or b"")
    return tuple(setting for setting in environment if setting.startswith(_PRELOADS))


def is_privileged_by_file(pid: int) -> bool:
    """Whether its last exec changed its credentials: AT_SECURE of getauxval(3)."""
    data = read_proc(pid, "auxv") or b""
    for entry in (struct.Struct("=QQ"), struct.Struct("=II")):  # 32-bit programs have a smaller one
        whole = data[: len(data) // entry.size * entry.size]
        found = [value for key, value in entry.iter_unpack(whole) if key == _AT_SECURE]
        if found:
            return bool(found[0])
    return False


def inet_stdio_of(pid: int) -> frozenset[int]:
    """Which of 0, 1 and 2 are TCP or UDP sockets: looked for in the tables of its network namespace."""
    sockets = dict(_standard_sockets(pid))
    if not sockets:
        return frozenset()
    known = _inet_inodes(pid)
    return frozenset(number for number, inode in sockets.items() if inode in known)


def last_pid_of(pid: int) -> int:
    """Its pid in the innermost pid namespace that it is in; 0 if it has ended."""
    return int(_fields(pid).get("NSpid", "0").split()[-1])


def mount_namespace_of(pid: int) -> int:
    """0 if it has ended."""
    with while_running(pid):
        return _namespace(pid, "mnt")
    return 0


def host_namespaces() -> dict[str, Any]:
    """mnt_ns, pid_ns, net_ns, user_ns of pid 1: a service has mounts of its own. The daemon's, where that
    cannot be looked at."""
    with suppress(OSError):  # not permitted; or no descriptor is left to find out why
        return _namespaces(1)
    return _namespaces(os.getpid())


def _strings(data: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(part) for part in data.rstrip(b"\0").split(b"\0")) if data else ()


def _fields(pid: int) -> dict[str, str]:
    text = os.fsdecode(read_proc(pid, "status") or b"")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.split("\n"))}


def _status(pid: int) -> dict[str, Any]:
    fields = _fields(pid)
    if "CapEff" not in fields:
        return {}
    return {
        "comm": fields["Name"],
        "ppid": int(fields["PPid"]),
        "uid": int(fields["Uid"].split()[1]),
        "capabilities": int(fields["CapEff"], 16),
    }


def _namespaces(pid: int) -> dict[str, Any]:
    found = {}
    with while_running(pid):
        for field, name in _NAMESPACES.items():
            found[field] = _namespace(pid, name)
    return found


def _namespace(pid: int, name: str) -> int:
    return int(os.readlink(f"/proc/{pid}/ns/{name}").partition("[")[2].rstrip("]"))


def _root(pid: int) -> tuple[int, int] | None:
    with while_running(pid):
        status = status_of(f"/proc/{pid}/root")
        return status.device, status.inode
    return None


def _standard_sockets(pid: int) -> Iterator[tuple[int, bytes]]:
    for number in (0, 1, 2):
        with while_running(pid):
            link = os.readlink(b"/proc/%d/fd/%d" % (pid, number))
            if link.startswith(b"socket:["):
                yield number, link[8:-1]


def _inet_inodes(pid: int) -> set[bytes]:
    """Of at most SOCKETS_BYTES a table: a workload with more sockets than that hides among them."""
    return {
        columns[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for columns in map(bytes.split, _read_all(pid, f"net/{table}").splitlines()[1:])
        if len(columns) > 9
    }


def _read_all(pid: int, name: str) -> bytes:
    """A table of many reads: procfs gives out no more than a page or so at once."""
    data = b""
    with while_running(pid), open(f"/proc/{pid}/{name}", "rb", buffering=0) as table:
        while len(data) < SOCKETS_BYTES and (part := table.read(1 << 16)):
            data += part
    return data

# ruff: noqa: PTH115, PTH116, PTH123 - it is read in a race with its end, and a Path doubles the cost of a call
"""What /proc tells of one process, as events have it.

Nothing here waits for the process: the kernel reads only anonymous memory of another's command line and
environment (FOLL_ANON in fs/proc/base.c), and does not wait for a userfaultfd on its behalf.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from daemon.events import File, FileKind, Process
from daemon.sensors.attribution import read_proc

ARGUMENTS_BYTES: Final = 512
ENVIRONMENT_BYTES: Final = 2048
SOCKETS_BYTES: Final = 1 << 20
UNKNOWN_FILE: Final = File(path="", resolved=False)
_GONE = (FileNotFoundError, ProcessLookupError)
_PRELOADS = ("LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH=")
_NAMESPACES = {"mnt_ns": "mnt", "pid_ns": "pid", "net_ns": "net", "user_ns": "user"}
_KINDS = {
    stat.S_IFREG: FileKind.REGULAR,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMLINK,
    stat.S_IFBLK: FileKind.BLOCK,
    stat.S_IFCHR: FileKind.CHARACTER,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
}


@dataclass(frozen=True, slots=True)
class Observation:
    """As much as could be read before the process ended; the rest is as it was known before."""

    process: Process
    file: File
    """Its program; UNKNOWN_FILE where it had ended."""
    root: tuple[int, int] | None
    """Device and inode of its root directory."""


def observe(pid: int, known: Process | None = None) -> Observation:
    """The program first, as it is lost first. Raises OSError where /proc may not be read."""
    process = known or Process(pid=pid)
    file = program_of(pid)
    if file is not UNKNOWN_FILE:
        process = replace(process, exe=file.path, argv=arguments_of(pid))
    process = replace(process, **_status(pid), **_namespaces(pid))
    return Observation(process, file, _root(pid))


def program_of(pid: int) -> File:
    """By /proc/<pid>/exe, that leads to the file itself even where it was removed or is in another mount."""
    try:
        path = os.readlink(f"/proc/{pid}/exe")
        return file_of(path, os.stat(f"/proc/{pid}/exe"))
    except _GONE:
        return UNKNOWN_FILE


def file_of(path: str, facts: os.stat_result) -> File:
    node = stat.S_ISBLK(facts.st_mode) or stat.S_ISCHR(facts.st_mode)
    return File(
        path=path,
        device=kernel_device(facts.st_dev),
        inode=facts.st_ino,
        kind=_KINDS.get(stat.S_IFMT(facts.st_mode), FileKind.UNKNOWN),
        node_device=kernel_device(facts.st_rdev) if node else 0,
        mode=stat.S_IMODE(facts.st_mode),
        changed_ns=facts.st_ctime_ns,
        links=facts.st_nlink,
    )


def kernel_device(device: int) -> int:
    """From stat(2)'s form to the kernel's own, that events use."""
    return os.major(device) << 20 | os.minor(device)


def arguments_of(pid: int) -> tuple[str, ...]:
    """Cut at ARGUMENTS_BYTES. The program may have overwritten them."""
    return _strings(read_proc(pid, "cmdline", ARGUMENTS_BYTES) or b"")


def preloads_of(pid: int) -> tuple[str, ...]:
    environment = _strings(read_proc(pid, "environ", ENVIRONMENT_BYTES) or b"")
    return tuple(setting for setting in environment if setting.startswith(_PRELOADS))


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


def own_namespaces() -> dict[str, Any]:
    """The daemon's, which are the host's: mnt_ns, pid_ns, net_ns, user_ns."""
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
    with suppress(*_GONE):
        for field, name in _NAMESPACES.items():
            found[field] = int(os.readlink(f"/proc/{pid}/ns/{name}").partition("[")[2].rstrip("]"))
    return found


def _root(pid: int) -> tuple[int, int] | None:
    with suppress(*_GONE):
        facts = os.stat(f"/proc/{pid}/root")
        return kernel_device(facts.st_dev), facts.st_ino
    return None


def _standard_sockets(pid: int) -> Iterator[tuple[int, bytes]]:
    for number in (0, 1, 2):
        with suppress(*_GONE):
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
    with suppress(*_GONE), open(f"/proc/{pid}/{name}", "rb", buffering=0) as table:
        while len(data) < SOCKETS_BYTES and (part := table.read(1 << 16)):
            data += part
    return data

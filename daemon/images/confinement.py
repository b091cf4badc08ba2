"""What a process gives up for good before it reads what others wrote: rights, network, memory, time, files.

Runs in the child itself, once it has imported and opened all that it needs. Only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import struct
from contextlib import suppress
from dataclasses import asdict, dataclass

NOBODY = 65534
NICENESS = 10
"""The daemon, which watches, goes before it; and so does what else the host does."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 38, 22, 1, 4
SIGKILL = 9
SECCOMP_MODE_FILTER = 2
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000
_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32_CALLS = 0x40000000

# AUDIT_ARCH_* of linux/audit.h.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Columns: name, number on x86_64, on aarch64.
# What a program with files of its own is refused: sockets, rings, namespaces, reaching into other processes,
# and leaving the group of processes that is killed at its end.
_REFUSED = """\
socket 41 198
setsid 112 157
setpgid 109 154
io_uring_setup 425 425
ptrace 101 117
unshare 272 97
setns 308 268
bpf 321 280
process_vm_readv 310 270
process_vm_writev 311 271
userfaultfd 323 282
"""
# All that a sealed process may do: use what is open, memory, time and its own signals. It opens nothing,
# starts nothing and signals nobody (so no fcntl: F_SETOWN and F_SETSIG), so that even root has nothing left.
_ALLOWED = """\
read 0 63
write 1 64
readv 19 65
writev 20 66
pread64 17 67
lseek 8 62
fstat 5 80
close 3 57
ppoll 271 73
mmap 9 222
mprotect 10 226
munmap 11 215
mremap 25 216
brk 12 214
madvise 28 233
futex 202 98
rt_sigaction 13 134
rt_sigprocmask 14 135
rt_sigreturn 15 139
sigaltstack 131 132
getrandom 318 278
clock_gettime 228 113
clock_nanosleep 230 115
sched_yield 24 124
getpid 39 172
gettid 186 178
exit 60 93
exit_group 231 94
restart_syscall 219 128
"""
_CAPABILITY_VERSION_3 = 0x20080522


class CannotConfine(Exception):
    """This host does not let a process give up what it must: nothing was read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`wall_s` is the parent's to keep. `file_bytes` bounds each file that is written; 0 is none at all.

    `address_bytes` also counts what is mapped of files and reserved without use, which Go does generously.
    Root becomes `uid` and `gid`. `sockets` are for a program of the host that is to tell somebody something.
    """

    memory_bytes: int = 1 << 30
    address_bytes: int = 2 << 30
    cpu_s: int = 60
    wall_s: float = 90.0
    file_bytes: int = 0
    open_files: int = 64
    output_bytes: int = 64 << 20
    uid: int = NOBODY
    gid: int = NOBODY
    sockets: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def confine(limits: Limits, *, sealed: bool) -> None:
    """Raises CannotConfine. Root becomes another user, nobody unless told, and loses all capabilities.

    Where a service manager does not let it do that, only a sealed process goes on: one that opens no file
    from now on and starts nothing has no use for them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(OSError):  # what a service manager may refuse; it is a courtesy, no confinement
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    try:
        _become(limits.uid, limits.gid, must=not sealed)
        _limit(limits)
    except OSError as error:
        raise CannotConfine(f"cannot give up rights: {error}") from error
    if not _drop_capabilities(libc) and not sealed:
        raise CannotConfine(f"capset: {_last_error()}")
    for option, value in ((PR_SET_PDEATHSIG, SIGKILL), (PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0):
            raise CannotConfine(f"prctl {option}: {_last_error()}")
    _filter_calls(libc, sealed=sealed, sockets=limits.sockets)


def _become(uid: int, gid: int, *, must: bool) -> None:
    os.umask(0o077)
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except PermissionError:
        if must:
            raise


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """capset(2): none in any set. Whether it could: a service manager may refuse the call."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    return bool(libc.capset(header, bytes(24)) == 0)


def _last_error() -> str:
    return os.strerror(ctypes.get_errno())


def _limit(limits: Limits) -> None:
    for kind, wanted in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_AS, limits.address_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (value, value))


def _filter_calls(libc: ctypes.CDLL, *, sealed: bool, sockets: bool) -> None:
    """What is not allowed fails with EPERM, calls of another ABI end the process."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise CannotConfine(f"no list of system calls for {machine}")
    column = 1 + list(_ARCHITECTURES).index(machine)
    table = [line.split() for line in (_ALLOWED if sealed else _REFUSED).splitlines()]
    listed = tuple(int(call[column]) for call in table if not (sockets and call[0] == "socket"))
    install(libc, filter_code(_ARCHITECTURES[machine], listed, allow=sealed))


def install(libc: ctypes.CDLL, code: bytes) -> None:
    """seccomp(2)."""
    program = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0):
        raise CannotConfine(f"seccomp: {_last_error()}")


def filter_code(architecture: int, listed: tuple[int, ...], *, allow: bool) -> bytes:
    """struct sock_filter[]: nr is at offset 0 of seccomp_data, arch at 4."""
    count = len(listed)
    of_listed, of_others = (_ALLOW, _EPERM) if allow else (_EPERM, _ALLOW)
    code = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
        *((_JUMP_EQUAL, count - at, 0, call) for at, call in enumerate(listed)),
        (_RETURN, 0, 0, of_others),
        (_RETURN, 0, 0, of_listed),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in code)

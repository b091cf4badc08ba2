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
from dataclasses import asdict, dataclass

NOBODY = 65534
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 38, 22, 1, 4
SIGKILL = 9
SECCOMP_MODE_FILTER = 2
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000
_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32_CALLS = 0x40000000

# machine: (AUDIT_ARCH_*, calls that make sockets, rings or namespaces, or reach into other processes)
_REFUSED = {
    # socket, io_uring_setup, ptrace, unshare, setns, bpf, process_vm_readv, process_vm_writev, userfaultfd
    "x86_64": (0xC000003E, (41, 425, 101, 272, 308, 321, 310, 311, 323)),
    "aarch64": (0xC00000B7, (198, 425, 117, 97, 268, 280, 270, 271, 282)),
}


class CannotConfine(Exception):
    """This host does not let a process give up what it must: nothing was read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`wall_s` is the parent's to keep. `file_bytes` bounds each file that is written; 0 is none at all."""

    memory_bytes: int = 1 << 30
    cpu_s: int = 60
    wall_s: float = 90.0
    file_bytes: int = 0
    open_files: int = 64
    output_bytes: int = 64 << 20

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def confine(limits: Limits) -> None:
    """Raises CannotConfine. Root becomes nobody; whoever else runs this has little to give up."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _become_nobody()
        _limit(limits)
    except OSError as error:
        raise CannotConfine(f"cannot give up rights: {error}") from error
    for option, value in ((PR_SET_PDEATHSIG, SIGKILL), (PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0):
            raise CannotConfine(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    _refuse_calls(libc)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.umask(0o077)


def _limit(limits: Limits) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _refuse_calls(libc: ctypes.CDLL) -> None:
    """seccomp(2): the listed calls fail with EPERM, and those of another ABI end the process."""
    if platform.machine() not in _REFUSED:
        raise CannotConfine(f"no list of system calls for {platform.machine()}")
    code = _filter(*_REFUSED[platform.machine()])
    program = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0):
        raise CannotConfine(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _filter(architecture: int, refused: tuple[int, ...]) -> bytes:
    """struct sock_filter[]: nr is at offset 0 of seccomp_data, arch at 4."""
    count = len(refused)
    code = [
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_AT_LEAST, count + 1, 0, _X32_CALLS),
        *((_JUMP_EQUAL, count - at, 0, call) for at, call in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in code)

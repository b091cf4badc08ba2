"""Which system calls can be reported, and how: the rows of the kernel side's policy maps.

A call without a row of its own is reported with its registers alone. Opens are always reported: what of
them, the program decides from the file that was reached.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from daemon.sandbox.seccomp import syscall_numbers
from daemon.sensors.abi import NO_ARGUMENT, POLICY, Handler, When

X32_BIT = 0x4000_0000
SAME_AS = {"mmap2": "mmap", "umount": "umount2", "socketcall": "connect"}
"""Calls of the 32-bit entry alone, and which one's wish includes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    handler: Handler = Handler.CALL
    strings: tuple[int, ...] = ()
    """Which arguments are strings, three at most."""
    operand: int = NO_ARGUMENT
    """The argument that the handler looks at."""
    alert: bool = False
    when: When = When.ALWAYS
    only: int = 0

    def packed(self, *, kill: bool = False) -> bytes:
        strings = bytes((*self.strings, *(NO_ARGUMENT,) * (3 - len(self.strings))))
        return POLICY.pack(self.when, self.handler, self.alert, kill, strings, self.operand, self.only)


PLAIN = Call(alert=True)
OPENS = {
    "open": Call(handler=Handler.OPEN, strings=(0,)),
    "openat": Call(handler=Handler.OPEN, strings=(1,)),
    "openat2": Call(handler=Handler.OPEN, strings=(1,)),
    "creat": Call(handler=Handler.OPEN, strings=(0,)),
    "open_by_handle_at": Call(handler=Handler.OPEN),
}
MOUNTS = {
    "mount": Call(strings=(0, 1, 2), alert=True),
    "umount2": Call(strings=(0,), alert=True),
    "umount": Call(strings=(0,), alert=True),
    "move_mount": Call(strings=(1, 3), alert=True),
    "fsopen": Call(strings=(0,), alert=True),
    "fsmount": Call(alert=True),
    "open_tree": Call(strings=(1,), alert=True),
    "open_tree_attr": Call(strings=(1,), alert=True),
    "mount_setattr": Call(strings=(1,), alert=True),
    "pivot_root": Call(strings=(0, 1), alert=True),
    "chroot": Call(strings=(0,), alert=True),
}
NAMESPACES = {
    "setns": PLAIN,
    "unshare": PLAIN,
    "clone": Call(handler=Handler.CLONE, alert=True),
    "clone3": Call(handler=Handler.CLONE, alert=True),
}
PROCESSES = {
    "ptrace": Call(handler=Handler.PROCESS, operand=1, alert=True),
    "process_vm_readv": Call(handler=Handler.PROCESS, operand=0, alert=True),
    "process_vm_writev": Call(handler=Handler.PROCESS, operand=0, alert=True),
    "kcmp": Call(handler=Handler.PROCESS, operand=1, alert=True),
    "pidfd_getfd": Call(handler=Handler.PROCESS, operand=0, alert=True),
}
MODES = {
    "chmod": Call(handler=Handler.MODE, strings=(0,), operand=1),
    "fchmod": Call(handler=Handler.MODE, operand=1),
    "fchmodat": Call(handler=Handler.MODE, strings=(1,), operand=2),
    "fchmodat2": Call(handler=Handler.MODE, strings=(1,), operand=2),
}
LINKS = {
    "symlink": Call(strings=(0, 1)),
    "symlinkat": Call(strings=(0, 2)),
    "link": Call(strings=(0, 1)),
    "linkat": Call(strings=(1, 3)),
}
NODES = {
    "mknod": Call(handler=Handler.NODE, strings=(0,), operand=1, alert=True),
    "mknodat": Call(handler=Handler.NODE, strings=(1,), operand=2, alert=True),
}
SOCKETS = {
    "socket": Call(),
    "connect": Call(handler=Handler.ADDRESS, operand=1),
    "socketcall": Call(handler=Handler.ADDRESS, operand=1),
    "bind": Call(handler=Handler.ADDRESS, operand=1),
    "sendto": Call(handler=Handler.ADDRESS, operand=4),
    "sendmsg": Call(handler=Handler.MESSAGE, operand=1),
    "sendmmsg": Call(handler=Handler.MESSAGE, operand=1),
    "listen": Call(handler=Handler.LISTEN),
}
MEMORY = {
    "mmap": Call(handler=Handler.MAP),
    "mmap2": Call(handler=Handler.MAP),
    "mprotect": Call(handler=Handler.MAP),
    "pkey_mprotect": Call(handler=Handler.MAP),
}
PROGRAMS = {  # what succeeds is reported by the scheduler's own event
    "execve": Call(strings=(0,), when=When.FAILED),
    "execveat": Call(strings=(1,), when=When.FAILED),
}
LIMITS = {
    "write": Call(when=When.ERROR, only=-errno.ENOSPC),
    "pwrite64": Call(when=When.ERROR, only=-errno.ENOSPC),
    "writev": Call(when=When.ERROR, only=-errno.ENOSPC),
    "fork": Call(when=When.ERROR, only=-errno.EAGAIN),
    "vfork": Call(when=When.ERROR, only=-errno.EAGAIN),
}
OTHERS = {
    "memfd_create": Call(strings=(0,)),
    "finit_module": Call(strings=(1,), alert=True),
    "add_key": Call(strings=(0, 1)),
    "request_key": Call(strings=(0, 1)),
    "swapon": Call(strings=(0,), alert=True),
    "acct": Call(strings=(0,), alert=True),
    "fspick": Call(strings=(1,), alert=True),
}
KNOWN = (
    OPENS
    | MOUNTS
    | NAMESPACES
    | PROCESSES
    | MODES
    | LINKS
    | NODES
    | SOCKETS
    | MEMORY
    | PROGRAMS
    | LIMITS
    | OTHERS
)


@cache
def i386_numbers() -> dict[int, str]:
    """Names by number of the 32-bit entry: asm/unistd_32.h."""
    lines = Path(__file__).with_name("i386.tsv").read_text(encoding="ascii").splitlines()
    return {int(number): name for number, name in (line.split("\t") for line in lines)}


@cache
def x86_64_numbers() -> dict[int, str]:
    return syscall_numbers()


def name_of(number: int, *, compat: bool) -> str:
    """`nr:N` where no table has it."""
    if compat and not number & X32_BIT:
        return i386_numbers().get(number, f"nr:{number}")
    number &= ~X32_BIT
    return x86_64_numbers().get(number, f"nr:{number}")


def rows(names: Iterable[str], table: dict[int, str]) -> Iterator[tuple[int, Call]]:
    """Number and policy of each wanted call that this table has; opens are always wanted."""
    wanted = {*names, *OPENS}
    for number, name in table.items():
        if name in wanted or SAME_AS.get(name) in wanted:
            yield number, KNOWN.get(name, PLAIN)


def unknown(names: Iterable[str]) -> list[str]:
    """Those that no system call of this kernel's tables is called by."""
    return sorted(set(names) - set(x86_64_numbers().values()) - set(i386_numbers().values()))

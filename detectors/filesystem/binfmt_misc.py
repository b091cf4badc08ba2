"""binfmt_misc: interpreters that the kernel runs for chosen kinds of programs."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.filesystem.kernel_files import KernelFileWrite

BINFMT_MISC = Rule(
    id="binfmt-misc",
    title="Interpreter for programs of the whole host registered",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1546"),
    why="An entry of binfmt_misc makes the kernel run a program of the sandbox whenever anybody on the "
    "host starts a file that matches, with that caller's rights (flag C) and from any namespace "
    "(flag F).",
    remedy="Stop the sandbox and remove unknown entries from /proc/sys/fs/binfmt_misc. Keep it out of "
    "containers: no privileged container, no CAP_SYS_ADMIN.",
)


class BinfmtMisc(KernelFileWrite):
    rules = (BINFMT_MISC,)
    names = frozenset({"register", "status"})
    filesystems = frozenset({"binfmt_misc"})
    folders = frozenset({"binfmt_misc"})

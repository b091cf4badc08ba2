"""core_pattern: the program that the kernel pipes core dumps to."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.filesystem.kernel_files import KernelFileWrite

CORE_PATTERN = Rule(
    id="core-pattern",
    title="Handler of core dumps changed",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A core_pattern that starts with | names a program which the kernel runs as root on the host "
    "whenever a process crashes, one in a sandbox included (core(5)).",
    remedy="Stop the sandbox and restore /proc/sys/kernel/core_pattern. Keep /proc/sys read-only: no "
    "privileged container, no mount of the host's /proc, no CAP_SYS_ADMIN.",
)


class CorePattern(KernelFileWrite):
    rules = (CORE_PATTERN,)
    names = frozenset({"core_pattern", "core_pipe_limit"})
    filesystems = frozenset({"proc"})

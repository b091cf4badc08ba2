"""sysrq-trigger: the keyboard's emergency commands by a file."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.filesystem.kernel_files import KernelFileWrite

SYSRQ = Rule(
    id="sysrq-trigger",
    title="sysrq-trigger opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1499", "T1529"),
    why="One character written to it reboots or crashes the host, kills all its processes or remounts "
    "its disks read-only (Documentation/admin-guide/sysrq.rst).",
    remedy="Stop the sandbox. Keep /proc/sysrq-trigger read-only: no privileged container, no mount of the "
    "host's /proc.",
)


class Sysrq(KernelFileWrite):
    rules = (SYSRQ,)
    names = frozenset({"sysrq-trigger"})
    filesystems = frozenset({"proc"})

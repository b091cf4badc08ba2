"""Programs that the kernel itself starts as root on the host: modprobe, hotplug, uevent_helper, poweroff."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.filesystem.kernel_files import KernelFileWrite

USERMODE_HELPER = Rule(
    id="usermode-helper",
    title="Program that the kernel starts on the host changed",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1547.006"),
    why="The kernel runs these programs as root in the host's namespaces: when a device appears, a "
    "module is wanted or the machine is to go down. Whoever sets the path runs code on the host.",
    remedy="Stop the sandbox and restore the file. Keep /proc/sys and /sys read-only: no privileged "
    "container, no mount of the host's /proc or /sys, no CAP_SYS_ADMIN.",
)


class UsermodeHelper(KernelFileWrite):
    """As in Documentation/admin-guide/sysctl/kernel.rst and ABI/testing/sysfs-uevent of the kernel."""

    rules = (USERMODE_HELPER,)
    names = frozenset({"modprobe", "hotplug", "uevent_helper", "poweroff_cmd"})
    filesystems = frozenset({"proc", "sysfs"})
    folders = frozenset({"kernel"})

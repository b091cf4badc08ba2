"""Undoing the runtime's masks: read-only and hidden parts of /proc and /sys, read-only mounts."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, Mounted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.paths import below, plain

UNMASKING = Rule(
    id="mask-removed",
    title="Protection of /proc, /sys or a read-only mount taken away",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1562.001"),
    why="The runtime mounts /proc/sys, /sys and others read-only, and hides the rest below empty mounts. "
    "Who remounts, unmounts or binds them gets at settings of the host's kernel.",
    remedy="Stop the sandbox. Drop CAP_SYS_ADMIN and keep the default AppArmor profile, which denies mounts.",
)

# <linux/mount.h>
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE = 0x1, 0x20, 0x1000, 0x2000
OPEN_TREE_CLONE = 1
KERNEL_PLACES = ("/proc", "/sys")


class Unmasking(Detector):
    rules = (UNMASKING,)
    events = (Mounted,)
    syscalls = frozenset({"mount", "umount2", "mount_setattr", "open_tree", "open_tree_attr", "move_mount"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, Mounted) and is_unmasking(event, sandbox):
            yield attempt(
                UNMASKING,
                event,
                otherwise=Severity.HIGH,
                identifier=event.syscall,
                source=clip(event.source),
                target=clip(event.target),
                flags=hex(event.flags),
            )


def is_unmasking(mount: Mounted, sandbox: Expectation) -> bool:
    source, target = plain(mount.source), plain(mount.target)
    match mount.syscall:
        case "umount2" | "mount_setattr":
            return below(target, *KERNEL_PLACES)
        case "open_tree" | "open_tree_attr":
            return bool(mount.flags & OPEN_TREE_CLONE) and below(source, *KERNEL_PLACES)
        case "move_mount":
            return below(source, *KERNEL_PLACES)
        case "mount" if mount.flags & MS_REMOUNT:
            return below(target, *KERNEL_PLACES) or _is_made_writable(mount, target, sandbox)
        case "mount" if mount.flags & (MS_BIND | MS_MOVE):
            return below(source, *KERNEL_PLACES)
    return False


def _is_made_writable(mount: Mounted, target: str, sandbox: Expectation) -> bool:
    if mount.flags & MS_RDONLY:
        return False
    if target == "/" and sandbox.read_only_root:
        return True
    expected = sandbox.mount_of(target)
    return expected is not None and expected.target == target and expected.read_only

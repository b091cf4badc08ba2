"""Mounting inside a sandbox, by mount(2) and by the calls that took its place (fsopen(2) and on)."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, Mounted, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.paths import below, plain
from detectors.filesystem.unmasking import OPEN_TREE_CLONE, is_unmasking

DISK_MOUNT = Rule(
    id="disk-mount",
    title="Disk or host share mounted",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="The file system of a disk, or a share of the hypervisor, is the host's own: mounted in a "
    "sandbox it gives all its files. A crafted image also attacks the kernel's parser.",
    remedy="Stop the sandbox; if the mount succeeded, treat the host's files as read and changed. No "
    "privileged container, drop CAP_SYS_ADMIN and CAP_MKNOD.",
)
KERNEL_MOUNT = Rule(
    id="kernel-filesystem-mount",
    title="File system of the kernel mounted",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A fresh mount of proc, sysfs, cgroup or their kin lacks the masks and the read-only state of "
    "the runtime's: through it release_agent, core_pattern and the devices are within reach.",
    remedy="Stop the sandbox. Drop CAP_SYS_ADMIN and keep the default AppArmor and seccomp profiles.",
)
MOUNT = Rule(
    id="mount-inside",
    title="Mount changed inside the sandbox",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611",),
    why="The mounts of a sandbox are its walls, and workloads have no need to change them.",
    remedy="Drop CAP_SYS_ADMIN; deny mount calls and user namespaces by seccomp, as the shipped profiles do.",
)

DISK_FILE_SYSTEMS = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "zfs", "jfs", "reiserfs", "nilfs2"),
        *("vfat", "msdos", "exfat", "ntfs", "ntfs3", "iso9660", "udf", "hfs", "hfsplus", "ufs", "minix"),
        *("squashfs", "erofs", "cramfs", "romfs", "ocfs2", "gfs2", "fuseblk", "9p", "virtiofs"),
    }
)
KERNEL_FILE_SYSTEMS = frozenset(
    {
        *("proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "devtmpfs"),
        *("binfmt_misc", "bpf", "efivarfs", "pstore", "selinuxfs", "nfsd", "rpc_pipefs"),
    }
)
CALLS = frozenset(
    {"mount", "umount2", "move_mount", "fsopen", "fsmount", "open_tree", "open_tree_attr", "mount_setattr"}
)
BARE_CALLS = frozenset({"fsconfig", "fspick"})
"""Of them only the call is known."""


class Mounting(Detector):
    rules = (DISK_MOUNT, KERNEL_MOUNT, MOUNT)
    events = (Mounted, SyscallMade)
    syscalls = CALLS | BARE_CALLS

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallMade) and event.syscall in BARE_CALLS:
            yield attempt(MOUNT, event, severity=_of_any(sandbox), otherwise=Severity.MEDIUM)
        elif isinstance(event, Mounted) and event.syscall in CALLS and not _is_left_to_others(event, sandbox):
            rule, success, failure = _judge(event, sandbox)
            yield attempt(
                rule,
                event,
                severity=success,
                otherwise=failure,
                identifier=f"{event.syscall}:{_known(event.filesystem)}",
                source=clip(event.source),
                target=clip(event.target),
                filesystem=clip(event.filesystem),
                flags=hex(event.flags),
            )


def _is_left_to_others(mount: Mounted, sandbox: Expectation) -> bool:
    """open_tree without OPEN_TREE_CLONE is but an open; lost masks are told by a detector of their own."""
    is_open = mount.syscall.startswith("open_tree") and not mount.flags & OPEN_TREE_CLONE
    return is_open or is_unmasking(mount, sandbox)


def _judge(mount: Mounted, sandbox: Expectation) -> tuple[Rule, Severity, Severity]:
    """Rule, severity of success, severity of failure."""
    if mount.filesystem in DISK_FILE_SYSTEMS or below(plain(mount.source), "/dev"):
        return DISK_MOUNT, Severity.CRITICAL, Severity.HIGH
    if mount.filesystem in KERNEL_FILE_SYSTEMS:
        return KERNEL_MOUNT, Severity.CRITICAL, Severity.HIGH
    if mount.syscall == "umount2" and not sandbox.managed:
        return MOUNT, Severity.LOW, Severity.LOW
    return MOUNT, Severity.HIGH if mount.filesystem == "overlay" else _of_any(sandbox), Severity.MEDIUM


def _known(filesystem: str) -> str:
    return filesystem if filesystem in DISK_FILE_SYSTEMS | KERNEL_FILE_SYSTEMS else ""


def _of_any(sandbox: Expectation) -> Severity:
    return Severity.HIGH if sandbox.managed else Severity.MEDIUM

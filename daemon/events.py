"""Facts that sensors report, in the past tense: the input of every detector.

Addresses, devices, inodes and resolved paths are the kernel's own objects. What a program merely passed
(a string argument) is marked by `File.resolved` or said to be advisory: it can change after it was read.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum

REFUSALS = (-errno.EPERM, -errno.EACCES, -errno.EROFS, -errno.ENOSYS)


class Drift(IntFlag):
    """How a task departs from what its sandbox was after the first exec inside; it never may."""

    NONE = 0
    MOUNT_NAMESPACE = 1
    USER_NAMESPACE = 2
    PID_NAMESPACE = 4
    CAPABILITIES = 8
    ROOT = 16
    UID = 32


class Tier(StrEnum):
    """Which kind of sensor saw it, best first."""

    LSM = "ebpf-lsm"
    EBPF = "ebpf"
    NETLINK = "netlink-fanotify"
    PROCFS = "procfs"
    INOTIFY = "inotify"
    CGROUP = "cgroup"
    REPLAY = "replay"
    RESOLVER = "resolver"


class FileKind(StrEnum):
    REGULAR = "regular"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    BLOCK = "block"
    CHARACTER = "character"
    FIFO = "fifo"
    SOCKET = "socket"
    UNKNOWN = "unknown"

    @classmethod
    def of_mode(cls, mode: int) -> FileKind:
        """By the bits of st_mode that tell it (inode(7))."""
        return _KINDS.get(stat.S_IFMT(mode), cls.UNKNOWN)


_KINDS = {
    stat.S_IFREG: FileKind.REGULAR,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMLINK,
    stat.S_IFBLK: FileKind.BLOCK,
    stat.S_IFCHR: FileKind.CHARACTER,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The acting thread as the kernel had it at that moment; pids as the daemon sees them.

    `exe`, `argv` and `lineage` come from the events before this one: empty where those were not seen.
    """

    pid: int
    tid: int = 0
    ppid: int = 0
    uid: int = 0
    """Effective, in the initial user namespace."""
    capabilities: int = 0
    """The effective set, bit n is capability n (capabilities(7))."""
    mnt_ns: int = 0
    pid_ns: int = 0
    net_ns: int = 0
    user_ns: int = 0
    comm: str = ""
    exe: str = ""
    argv: tuple[str, ...] = ()
    lineage: tuple[str, ...] = ()
    """Executables of its ancestors inside the sandbox, the parent's first."""
    ancestors: tuple[int, ...] = ()
    """Their pids, in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """`path` in the mount namespace of the task; where not `resolved`, the string that it passed."""

    path: str
    resolved: bool = True
    device: int = 0
    """The superblock's dev_t as the kernel keeps it: major << 20 | minor; 0 where no file was reached."""
    inode: int = 0
    kind: FileKind = FileKind.UNKNOWN
    node_device: int = 0
    """What a device node stands for, in the same form."""
    filesystem: str = ""
    """As in mountinfo: "proc", "sysfs", "overlay", "tmpfs" ...; the magic in hex where unknown."""
    mode: int = 0
    changed_ns: int = 0
    """ctime, CLOCK_REALTIME: it cannot be set back by its owner."""
    links: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`sandbox` is the container's id, "" for the host; `time_ns` is CLOCK_MONOTONIC."""

    time_ns: int
    sandbox: str
    process: Process
    tier: Tier
    drift: Drift = Drift.NONE
    killed: bool = False
    """The kernel program sent SIGKILL at once: the task did not return to user mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled(Event):
    """A process came in from outside: the runtime with the first one, or a later exec."""

    already_running: bool = False
    """It was there before the sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessForked(Event):
    """`process` is the child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExecuted(Event):
    """After the new program is in place; `process` is already the new one."""

    file: File
    argv: tuple[str, ...] = ()
    """Cut at 512 bytes in all."""
    preloads: tuple[str, ...] = ()
    """LD_PRELOAD, LD_AUDIT and LD_LIBRARY_PATH of the environment, as NAME=value; of its first 2 KiB."""
    inet_stdio: frozenset[int] = frozenset()
    """Which of the descriptors 0, 1, 2 are internet sockets."""
    privileged_by_file: bool = False
    """A set-uid or set-gid bit, or file capabilities, changed the credentials."""
    fresh: bool = False
    """The file's content or mode changed after the sandbox started: it is not the image's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostExecuted(Event):
    """A process of the host, in the host's namespaces, executed a file of this sandbox."""

    file: File


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExited(Event):
    code: int = 0
    signal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyscallEvent(Event):
    """`result` as the kernel returned it: a refused attempt is an event too."""

    syscall: str
    result: int = 0
    compat: bool = False
    """Through the 32-bit entry, whose numbers differ."""

    @property
    def refused(self) -> bool:
        return self.result in REFUSALS

    @property
    def succeeded(self) -> bool:
        return self.result >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyscallMade(SyscallEvent):
    """A call with no richer event of its own; `arguments` are the raw registers."""

    arguments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOpened(SyscallEvent):
    file: File
    write: bool = False
    create: bool = False
    foreign_mount: bool = False
    """The file was reached by a mount of another mount namespace: through /proc/PID/root, a leaked fd ..."""
    outside_root: bool = False
    """The file does not lie below the root of the mount it was reached by (open_by_handle_at, a race)."""
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMapped(SyscallEvent):
    """A file that is not the image's was mapped executable, or memory became writable and executable."""

    file: File | None = None
    write: bool = False
    execute: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(SyscallEvent):
    """chmod and its kin; `file.path` is what was passed."""

    file: File
    mode: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLinked(SyscallEvent):
    """symlink, link; both paths as passed."""

    target: str
    link: str
    symbolic: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMade(SyscallEvent):
    """mknod of anything but a regular file."""

    file: File


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted(SyscallEvent):
    """mount, umount2, move_mount, fsopen, fsmount, open_tree, mount_setattr, pivot_root, chroot."""

    source: str = ""
    target: str = ""
    filesystem: str = ""
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceChanged(SyscallEvent):
    """setns, unshare, clone and clone3 with CLONE_NEW* flags, those bits alone (0: any, of setns)."""

    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketCreated(SyscallEvent):
    family: int
    type: int
    """Without SOCK_CLOEXEC and SOCK_NONBLOCK."""
    protocol: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(SyscallEvent):
    """connect, or a TCP handshake begun by any other way; IPv4-mapped addresses are given as IPv4."""

    family: int
    address: str = ""
    port: int = 0
    path: str = ""
    """Of a Unix socket; an abstract name starts with @."""
    file: File | None = None
    """The Unix socket's own, where the connection stands; its path is that of the mount namespace in which it
    was bound. Of sensors that do not know that, what was passed."""
    foreign_mount: bool = False
    """That is another mount namespace than the caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramSent(SyscallEvent):
    """sendto, sendmsg, sendmmsg to an address, or on a connected UDP socket to port 53."""

    family: int
    address: str = ""
    port: int = 0
    size: int = 0
    query: str = ""
    """The name asked for, where it is a DNS query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRefused(Event):
    """The daemon's resolver did not answer, or not in full. It knows the sandbox, not the process: pid 0."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listened(SyscallEvent):
    """bind with a port, or listen."""

    family: int
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTouched(SyscallEvent):
    """ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, kcmp on another process."""

    target_pid: int
    """As the caller named it, in its own pid namespace."""
    request: int = 0
    descendant: bool = False
    """The target is a child, or further down, of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached(Event):
    """From the cgroup's counters: `kind` is memory, pids, cpu or workspace."""

    kind: str
    limit: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnannouncedProcess(Event):
    """Reconciliation found a process in the sandbox that no event had announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFileChanged(Event):
    """A watched file or socket of the host; inotify tells no process, so `process` is pid 0."""

    path: str
    change: str
    """created, modified, attributes, deleted, moved, opened."""
    role: str = ""
    """Why it is watched: config, profiles, audit, socket, engine, persistence, canary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost(Event):
    """Of the sensor itself: never silent."""

    count: int
    reason: str
    evidence: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFailed(Event):
    sensor: str
    reason: str
    restarted: bool = False

"""The system calls a sandbox may make: one table with reasons, and the Engine's seccomp JSON made from it.

Whatever no group allows is refused with EPERM. REFUSED names those calls all the same, so that each has a
reason, and UNKNOWN answers ENOSYS, as an older kernel would, where programs have a second way and take it.

`python -m daemon.sandbox.seccomp` rewrites profiles/seccomp/*.json. The files are there to be read:
the daemon sends what this table says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "profiles" / "seccomp"
PROFILES = ("strict", "default", "build")
ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")  # the engine takes the machine's own
ENOSYS = 38


class Decision(StrEnum):
    ALLOW = "allow"
    CONDITIONAL = "conditional"
    EPERM = "EPERM"
    ENOSYS = "ENOSYS"


@dataclass(frozen=True)
class Condition:
    """True when `argument & mask == value`.

    The mask is never wider than what the kernel reads. A filter compares 64-bit registers but the kernel cuts
    an int to 32 bits, so a plain comparison could be passed, or failed, by an upper half that nobody reads.
    """

    index: int
    value: int
    mask: int = 0xFFFF_FFFF


@dataclass(frozen=True)
class Group:
    """`args` holds alternatives: one whose conditions are all true is enough; empty: any arguments."""

    name: str
    reason: str
    syscalls: tuple[str, ...]
    args: tuple[tuple[Condition, ...], ...] = ()
    profiles: tuple[str, ...] = PROFILES


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _one_of(index: int, *values: int) -> tuple[tuple[Condition, ...], ...]:
    return tuple((Condition(index, value),) for value in values)


# <bits/socket.h>, <netinet/in.h>
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM = 1, 2
SOCK_TYPE_MASK = 0xF  # the rest of the argument is SOCK_CLOEXEC and SOCK_NONBLOCK
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 1, 6, 17, 58
NETLINK_ROUTE = 0

# <sched.h>: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME is not a flag of clone(2)
CLONE_NAMESPACES = 0x7E02_0000

# <sys/personality.h>
PER_LINUX, PER_LINUX32, PERSONALITY_QUERY, ADDR_NO_RANDOMIZE = 0, 8, 0xFFFF_FFFF, 0x4_0000

# <sys/stat.h>; 0 is a plain file
S_IFMT, S_IFIFO, S_IFREG, S_IFSOCK = 0xF000, 0x1000, 0x8000, 0xC000


def _internet(family: int, kind: int, protocol: int) -> tuple[Condition, ...]:
    return Condition(0, family), Condition(1, kind, SOCK_TYPE_MASK), Condition(2, protocol)


def _node(index: int) -> tuple[tuple[Condition, ...], ...]:
    return tuple((Condition(index, kind, S_IFMT),) for kind in (0, S_IFIFO, S_IFREG, S_IFSOCK))


SYSV_IPC = _names(
    "shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open "
    "mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"
)
ASYNC_IO = _names("io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents")
ANONYMOUS_FILES = _names("memfd_create execveat vmsplice")
NOT_STRICT = ("default", "build")

ALLOWED = (
    Group(
        "files",
        "open, read, write and name files; mounts, modes and owners decide which",
        _names(
            "read write open openat openat2 creat close close_range lseek pread64 pwrite64 readv writev "
            "preadv pwritev preadv2 pwritev2 stat fstat lstat newfstatat statx access faccessat faccessat2 "
            "truncate ftruncate fallocate getdents getdents64 getcwd chdir fchdir rename renameat renameat2 "
            "mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink readlinkat chmod "
            "fchmod fchmodat chown fchown lchown fchownat umask utime utimes futimesat utimensat setxattr "
            "lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr "
            "lremovexattr fremovexattr statfs fstatfs flock fcntl ioctl dup dup2 dup3 fsync fdatasync "
            "syncfs sync_file_range readahead fadvise64 sendfile copy_file_range splice tee"
        ),
    ),
    Group("fifos", "mkfifo, and no device node", ("mknod",), _node(1)),
    Group("fifos-at", "mkfifo, and no device node", ("mknodat",), _node(2)),
    Group(
        "memory",
        "map and manage one's own memory; allocators and just-in-time compilers live on it",
        _names(
            "mmap mprotect munmap mremap brk madvise mincore msync mlock mlock2 munlock mlockall munlockall "
            "pkey_alloc pkey_free pkey_mprotect membarrier"
        ),
    ),
    Group(
        "processes",
        "start, wait for and end processes; pids and limits are the cgroup's",
        _names(
            "fork vfork execve exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal "
            "getpid gettid getppid getpgid getpgrp getsid setpgid setsid set_tid_address set_robust_list "
            "get_robust_list rseq restart_syscall arch_prctl prctl getrusage getrlimit setrlimit prlimit64 "
            "times"
        ),
    ),
    Group(
        "threads",
        "clone is fork and threads, and a door to new namespaces: every namespace flag is refused",
        ("clone",),
        ((Condition(0, 0, CLONE_NAMESPACES),),),
    ),
    Group(
        "signals",
        "handle signals",
        _names(
            "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait "
            "rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause"
        ),
    ),
    Group(
        "identity",
        "read one's ids and capabilities, or give them up; no_new_privs lets none be gained",
        _names(
            "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid "
            "setresuid setresgid setgroups setfsuid setfsgid capget capset"
        ),
    ),
    Group(
        "self-confinement",
        "a program may take rights from itself; the kernel only ever adds filters and rules",
        _names("seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"),
    ),
    Group(
        "scheduling",
        "run order and priority inside the cgroup's share; raising it needs a capability that no sandbox has",
        _names(
            "sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam "
            "sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max "
            "sched_get_priority_min sched_rr_get_interval getpriority setpriority ioprio_get ioprio_set "
            "getcpu"
        ),
    ),
    Group(
        "time",
        "read clocks, sleep, and set one's own timers",
        _names(
            "time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer "
            "setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete "
            "timerfd_create timerfd_settime timerfd_gettime"
        ),
    ),
    Group(
        "waiting",
        "wait for events and for other threads",
        _names(
            "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait "
            "epoll_pwait2 eventfd eventfd2 futex futex_waitv inotify_init inotify_init1 inotify_add_watch "
            "inotify_rm_watch pipe pipe2"
        ),
    ),
    Group("system", "what C libraries ask when they start", _names("uname sysinfo getrandom")),
    Group(
        "sockets",
        "use a socket; which kinds there can be is decided where they are made",
        _names(
            "bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt "
            "sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg"
        ),
    ),
    Group("unix", "sockets between one's own processes", ("socket", "socketpair"), _one_of(0, AF_UNIX)),
    Group(
        "internet",
        "TCP and UDP; the network namespace decides how far they reach. SCTP, DCCP, MPTCP and raw sockets "
        "are much kernel code for few programs",
        ("socket",),
        tuple(
            _internet(family, kind, protocol)
            for family in (AF_INET, AF_INET6)
            for kind, protocol in (
                (SOCK_STREAM, 0),
                (SOCK_STREAM, IPPROTO_TCP),
                (SOCK_DGRAM, 0),
                (SOCK_DGRAM, IPPROTO_UDP),
            )
        ),
    ),
    Group(
        "ping",
        "echo requests without a raw socket",
        ("socket",),
        (_internet(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), _internet(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6)),
        NOT_STRICT,
    ),
    Group(
        "interfaces",
        "list interfaces and addresses, as getifaddrs and getaddrinfo do; changing them needs a capability",
        ("socket",),
        ((Condition(0, AF_NETLINK), Condition(2, NETLINK_ROUTE)),),
    ),
    Group(
        "personality",
        "ask for the execution domain or set the plain one; no value that weakens the layout of memory",
        ("personality",),
        _one_of(0, PER_LINUX, PER_LINUX32, PERSONALITY_QUERY),
    ),
    Group(
        "sysv-ipc",
        "shared memory, semaphores and queues of the sandbox's own IPC namespace; databases use them",
        SYSV_IPC,
        profiles=NOT_STRICT,
    ),
    Group(
        "async-io",
        "the older asynchronous I/O; databases use it",
        ASYNC_IO,
        profiles=NOT_STRICT,
    ),
    Group(
        "anonymous-files",
        "files in memory, for graphics and language runtimes; the sensor sees one that is executed",
        ANONYMOUS_FILES,
        profiles=NOT_STRICT,
    ),
    Group(
        "debug",
        "debuggers, sanitizers and strace on one's own children",
        ("ptrace",),
        profiles=("build",),
    ),
    Group(
        "debug-layout",
        "debuggers start a program at the same addresses each time",
        ("personality",),
        _one_of(0, ADDR_NO_RANDOMIZE, ADDR_NO_RANDOMIZE | PER_LINUX32),
        profiles=("build",),
    ),
)

UNKNOWN = (
    Group(
        "clone3",
        "its flags are in memory, where a filter cannot read them; C libraries fall back to clone",
        ("clone3",),
    ),
    Group(
        "io-uring",
        "does I/O that no filter and no system call tracer sees; libraries fall back to epoll",
        _names("io_uring_setup io_uring_enter io_uring_register"),
    ),
    Group(
        "numa",
        "placing memory on nodes is the host's affair; libnuma takes this for a machine without nodes",
        _names("mbind set_mempolicy set_mempolicy_home_node get_mempolicy migrate_pages move_pages"),
    ),
    Group(
        "newer",
        "after number 450: older filter libraries cannot name them; the answer must not depend on their age",
        _names(
            "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount "
            "lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat "
            "removexattrat open_tree_attr file_getattr file_setattr"
        ),
    ),
    Group(
        "strict-anonymous-files",
        "where nothing writable is executable, a file in memory would be the one place left to run code from",
        ANONYMOUS_FILES,
        profiles=("strict",),
    ),
    Group(
        "strict-ipc",
        "queues and segments are favourite building blocks of kernel exploits, and scripts do without",
        SYSV_IPC,
        profiles=("strict",),
    ),
    Group(
        "strict-async-io",
        "only databases use it",
        ASYNC_IO,
        profiles=("strict",),
    ),
)

REFUSED = (
    Group("ptrace", "takes over another process", ("ptrace",), profiles=("strict", "default")),
    Group(
        "other-processes",
        "reads, writes, steers or compares another process past its own interfaces",
        _names("process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd"),
    ),
    Group(
        "mounts",
        "a changed mount table is the first step of most escapes",
        _names(
            "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick "
            "mount_setattr swapon swapoff"
        ),
    ),
    Group(
        "namespaces",
        "a new user namespace brings all capabilities and with them most of the kernel's attack surface",
        _names("unshare setns"),
    ),
    Group(
        "handles",
        "opens any file of a file system by number, past every directory and mount",
        _names("open_by_handle_at name_to_handle_at"),
    ),
    Group(
        "keys",
        "the kernel's keyrings belong to no namespace of files or processes",
        _names("keyctl add_key request_key"),
    ),
    Group("bpf", "runs programs in the kernel", ("bpf",)),
    Group(
        "userfaultfd",
        "stops the kernel in the middle of a copy: what races in exploits wait for",
        ("userfaultfd",),
    ),
    Group(
        "profiling",
        "sees the kernel and other processes; a large surface",
        _names("perf_event_open lookup_dcookie"),
    ),
    Group(
        "uprobes",
        "for the kernel's own trampolines. Kernels that have them let them pass every filter "
        "(kernel/seccomp.c) and answer a caller from anywhere else with SIGILL or an error",
        _names("uretprobe uprobe"),
    ),
    Group(
        "fanotify",
        "watches, and holds up, the file accesses of others",
        _names("fanotify_init fanotify_mark"),
    ),
    Group(
        "secret-memory", "hides memory from the host and takes it from every limit of swap", ("memfd_secret",)
    ),
    Group(
        "modules",
        "loads code into the kernel",
        _names("create_module init_module finit_module delete_module"),
    ),
    Group("kernel", "replaces or stops the kernel", _names("kexec_load kexec_file_load reboot")),
    Group("log", "the kernel's log holds addresses and other people's events", ("syslog",)),
    Group(
        "host-time",
        "the clock is the whole host's",
        _names("settimeofday clock_settime adjtimex clock_adjtime"),
    ),
    Group(
        "host-name",
        "set by the daemon, and nobody's business after that",
        _names("sethostname setdomainname"),
    ),
    Group("host-disks", "accounting and quotas of the whole host", _names("acct quotactl quotactl_fd")),
    Group(
        "host-sync",
        "forces out every file system of the host and waits for it; fsync does what a sandbox needs",
        ("sync",),
    ),
    Group("ports", "speaks to hardware", _names("iopl ioperm")),
    Group("terminals", "takes a terminal from its session", ("vhangup",)),
    Group("segments", "16-bit segments: of use to emulators, and of old fame in exploits", ("modify_ldt",)),
    Group(
        "obsolete",
        "removed, never made, or kept for programs of another age",
        _names(
            "uselib _sysctl sysfs ustat nfsservctl getpmsg putpmsg afs_syscall tuxcall security vserver "
            "get_kernel_syms query_module epoll_ctl_old epoll_wait_old set_thread_area get_thread_area "
            "remap_file_pages"
        ),
    ),
)


@cache
def syscall_numbers() -> dict[int, str]:
    """Names of x86_64 by number: asm/unistd_64.h, newer ones arch/x86/entry/syscalls/syscall_64.tbl."""
    lines = (FOLDER / "x86_64.tsv").read_text(encoding="ascii").splitlines()
    return {int(number): name for number, name in (line.split("\t") for line in lines)}


def decision(profile: str, syscall: str) -> Decision:
    """What the profile answers; EPERM also for a call that the table does not know."""
    _check(profile)
    if any(syscall in group.syscalls for group in _of(UNKNOWN, profile)):
        return Decision.ENOSYS
    allowing = [group for group in _of(ALLOWED, profile) if syscall in group.syscalls]
    if not allowing:
        return Decision.EPERM
    return Decision.CONDITIONAL if all(group.args for group in allowing) else Decision.ALLOW


def profile(name: str) -> dict[str, Any]:
    """The profile in the Engine's own form.

    Understood from Docker 20.10 on: no `defaultErrnoRet`, whose absence means EPERM. One ABI a machine and no
    sub-architecture: 32-bit and x32 calls have numbers of their own that this table does not judge, so the
    filter refuses them all. Raises ValueError for a name that is not one of PROFILES.
    """
    _check(name)
    allow = [entry for group in _of(ALLOWED, name) for entry in _entries(group, "SCMP_ACT_ALLOW")]
    unknown = [
        entry for group in _of(UNKNOWN, name) for entry in _entries(group, "SCMP_ACT_ERRNO", errnoRet=ENOSYS)
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": name, "subArchitectures": []} for name in ARCHITECTURES],
        "syscalls": allow + unknown,
    }


@cache
def load(name: str) -> str:
    """The text for the engine's `SecurityOpt`, after `seccomp=`. Raises ValueError for an unknown name."""
    return json.dumps(profile(name), separators=(",", ":"))


def _check(name: str) -> None:
    if name not in PROFILES:
        raise ValueError(f"no seccomp profile is called {name!r}: choose one of {', '.join(PROFILES)}")


def _of(table: tuple[Group, ...], profile: str) -> Iterator[Group]:
    return (group for group in table if profile in group.profiles)


def _entries(group: Group, action: str, **extra: int) -> Iterator[dict[str, Any]]:
    """One entry an alternative: entries of one call are joined by OR, the conditions inside one by AND."""
    for conditions in group.args or ((),):
        yield {
            "names": list(group.syscalls),
            "action": action,
            **extra,
            "args": [_argument(condition) for condition in conditions],
            "comment": f"{group.name}: {group.reason}",
        }


def _argument(condition: Condition) -> dict[str, Any]:
    return {
        "index": condition.index,
        "value": condition.mask,
        "valueTwo": condition.value,
        "op": "SCMP_CMP_MASKED_EQ",
    }


def rendered(name: str) -> str:
    """What the file of the profile holds."""
    return json.dumps(profile(name), indent=1) + "\n"


def main() -> None:
    for name in PROFILES:
        (FOLDER / f"{name}.json").write_text(rendered(name), encoding="ascii")


if __name__ == "__main__":
    main()

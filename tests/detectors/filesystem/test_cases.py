"""The corpus's cases of the file system, as the kernel reported them, and the same attacks in other words.

Each with the case's own options, and as what a tight sandbox leaves of it. Two leave nothing there: a path
that is not in the sandbox is no event.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, File, FileKind
from daemon.expectation import Expectation
from tests.detectors.attacks import Attack, everything, is_found, pair
from tests.detectors.making import (
    EACCES,
    ENOENT,
    EPERM,
    EROFS,
    HOST_DEVICE,
    PLAIN,
    PRIVILEGED,
    STRICT,
    called,
    chmodded,
    device_opened,
    host_changed,
    linked,
    mount_call,
    node_made,
    on,
    opened,
    unix_connected,
    with_mount,
)

BLOCK, CHARACTER = FileKind.BLOCK, FileKind.CHARACTER
MS_REMOUNT, MS_BIND = 0x20, 0x1000


HOST_ROOT = with_mount("/", "/host", read_only=True)
HOST_PIDS = replace(PLAIN, host_namespaces=frozenset({"pid"}))
ENGINE = with_mount("/var/run/docker.sock", "/var/run/docker.sock")
VOLUME = with_mount("/srv/jobs/17", "/work")
SECRET = "/tmp/breakout-corpus/canary/secret"
HOST_SECRET = File(path=SECRET, device=HOST_DEVICE, inode=77, filesystem="ext4")
CREDENTIALS = (
    *("/root/.aws/credentials", "/root/.ssh/id_rsa", "/root/.kube/config", "/root/.docker/config.json"),
    *("/root/.config/gcloud/credentials.db", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
    *("/root/.netrc", "/root/.git-credentials", "/root/.azure/accessTokens.json"),
)
MASKED = (
    *("/proc/kcore", "/proc/sched_debug", "/proc/latency_stats", "/dev/mem", "/dev/kmsg"),
    "/sys/firmware/acpi/tables/DSDT",
)
SETTINGS = ("kernel/core_pattern", "vm/overcommit_memory", "net/ipv4/ip_forward", "fs/suid_dumpable")
PERSISTENT = (
    "/etc/cron.d/sysstat2",
    "/etc/profile.d/zz.sh",
    "/etc/ld.so.preload",
    "/root/.bashrc",
    "/etc/passwd",
)


def attempts(paths: tuple[str, ...], result: int, *, write: bool = False) -> tuple[Event, ...]:
    return tuple(opened(path, result=result, write=write) for path in paths)


def attack(case: str, floor: str, *events: Event, sandbox: Expectation = PLAIN) -> Attack:
    return Attack(case, "filesystem", floor, events, sandbox)


CASES = [
    *pair(
        "fs-cgroup-release-agent",
        "critical",
        (
            mount_call("mount", source="none", target="/tmp/cg", filesystem="cgroup"),
            on("cgroup", "/tmp/cg/x/notify_on_release", write=True),
            on("cgroup", "/tmp/cg/release_agent", write=True),
        ),
        (mount_call("mount", source="none", target="/tmp/cg", filesystem="cgroup", result=EPERM),),
        category="filesystem",
        sandbox=PRIVILEGED,
    )[:1],
    attack("fs-cgroup-release-agent, second half", "critical", on("cgroup", "/m/release_agent", write=True)),
    attack(
        "fs-cgroup-release-agent strict",
        "high",
        mount_call("mount", source="none", target="/tmp/cg", filesystem="cgroup", result=EPERM),
        sandbox=STRICT,
    ),
    attack("fs-core-pattern own", "critical", on("proc", "/proc/sys/kernel/core_pattern", write=True)),
    attack(
        "fs-core-pattern strict",
        "high",
        opened("/proc/sys/kernel/core_pattern", result=EROFS, write=True),
        sandbox=STRICT,
    ),
    *pair(
        "fs-credential-search",
        "medium",
        attempts(CREDENTIALS, ENOENT),
        attempts(CREDENTIALS, EACCES),
        category="filesystem",
    ),
    attack(
        "fs-debugfs-rawdisk own",
        "critical",
        node_made("/tmp/hd", BLOCK, 254, 0),
        opened("/tmp/hd", result=EPERM),
        sandbox=PRIVILEGED,
    ),
    attack("fs-debugfs-rawdisk, no node needed", "critical", device_opened("/dev/vda", BLOCK, 254, 0)),
    attack("fs-docker-sock own", "critical", unix_connected("/var/run/docker.sock"), sandbox=ENGINE),
    attack(
        "fs-docker-sock strict",
        "medium",
        unix_connected("/var/run/docker.sock", result=ENOENT),
        sandbox=STRICT,
    ),
    attack("fs-hostmount-canary own", "high", opened("/host" + SECRET), sandbox=HOST_ROOT),
    *pair(
        "fs-masked-proc-read",
        "medium",
        (*attempts(MASKED, ENOENT), on("proc", "/proc/kallsyms"), opened("/proc/kmsg", result=EPERM)),
        (opened("/proc/kmsg", result=EACCES),),
        category="filesystem",
    ),
    *pair(
        "fs-mknod-blockdev",
        "high",
        (node_made("/tmp/rawdisk", BLOCK, 254, 0), opened("/tmp/rawdisk", result=EPERM)),
        (node_made("/tmp/rawdisk", BLOCK, 254, 0, result=EPERM),),
        category="filesystem",
    ),
    attack(
        "fs-mount-hostdisk own",
        "critical",
        node_made("/tmp/breakout-corpusdisk", BLOCK, 254, 0),
        mount_call("mount", source="/tmp/breakout-corpusdisk", target="/tmp/hostdisk", filesystem="ext4"),
        sandbox=PRIVILEGED,
    ),
    attack(
        "fs-mount-hostdisk strict",
        "high",
        mount_call("mount", source="/tmp/d", target="/tmp/hostdisk", filesystem="ext4", result=EPERM),
        sandbox=STRICT,
    ),
    *pair(
        "fs-persist-etc",
        "medium",
        tuple(opened(path, write=True) for path in PERSISTENT),
        attempts(PERSISTENT, EROFS, write=True),
        category="filesystem",
    ),
    attack(
        "fs-procpid-root own",
        "critical",
        opened(SECRET, file=HOST_SECRET, foreign_mount=True),
        sandbox=HOST_PIDS,
    ),
    *pair(
        "fs-procsys-write",
        "high",
        attempts(tuple(f"/proc/sys/{name}" for name in SETTINGS), EROFS, write=True),
        attempts(("/proc/sys/kernel/modprobe",), ENOENT, write=True),
        category="filesystem",
    ),
    *pair(
        "fs-remount-procsys",
        "high",
        (
            mount_call("mount", target="/proc/sys", flags=MS_REMOUNT | MS_BIND),
            on("proc", "/proc/sys/vm/overcommit_memory", write=True),
        ),
        (mount_call("mount", target="/proc/sys", flags=MS_REMOUNT | MS_BIND, result=EPERM),),
        category="filesystem",
    ),
    *pair(
        "fs-shadow-read",
        "medium",
        (opened("/etc/shadow"), opened("/etc/gshadow")),
        (opened("/etc/shadow", result=EACCES),),
        category="filesystem",
    ),
    attack(
        "fs-shocker own",
        "critical",
        opened("/", syscall="open_by_handle_at", outside_root=True, file=File(path="/", inode=2)),
    ),
    attack("fs-shocker, what it is for", "critical", opened(SECRET, file=HOST_SECRET, outside_root=True)),
    attack(
        "fs-shocker strict",
        "high",
        opened("", syscall="open_by_handle_at", result=EPERM),
        sandbox=STRICT,
    ),
    *pair(
        "fs-suid-drop",
        "medium",
        (chmodded("/tmp/.cache-sh", 0o4755),),
        (chmodded("/tmp/.cache-sh", 0o4755),),
        category="filesystem",
    ),
    attack("fs-symlink-plant own", "medium", linked(SECRET, "/work/result.txt"), sandbox=VOLUME),
    attack(
        "fs-symlink-plant strict",
        "medium",
        linked("../../../../../../../../etc/shadow", "/tmp/report.log"),
        sandbox=STRICT,
    ),
    *pair(
        "fs-sysrq-open",
        "high",
        (opened("/proc/sysrq-trigger", result=ENOENT, write=True),),
        (opened("/proc/sysrq-trigger", result=EACCES, write=True),),
        category="filesystem",
        sandbox=PRIVILEGED,
    ),
]

IN_OTHER_WORDS = [
    attack(
        "core_pattern in a fresh proc", "critical", on("proc", "/tmp/p/sys/kernel/core_pattern", write=True)
    ),
    attack(
        "core_pattern by the own root",
        "high",
        opened("/proc/self/root/proc//sys/./kernel/core_pattern", result=EROFS, write=True),
    ),
    attack("core_pattern from its folder", "high", opened("core_pattern", result=EROFS, write=True)),
    attack(
        "core_pattern through io_uring",
        "critical",
        opened(
            "/proc/sys/kernel/core_pattern",
            syscall="io_uring:openat",
            file=File(path="/proc/sys/kernel/core_pattern", resolved=False),
            write=True,
        ),
    ),
    attack(
        "release_agent by the new mount calls",
        "critical",
        mount_call("fsopen", filesystem="cgroup"),
        called("fsconfig", 3, 0),
        mount_call("fsmount"),
    ),
    attack("a disk by the new mount calls", "critical", mount_call("fsopen", filesystem="xfs")),
    attack("a share of the hypervisor", "critical", mount_call("mount", source="host0", filesystem="9p")),
    attack("a disk without its type", "critical", mount_call("mount", source="/dev/vda1", target="/mnt")),
    attack("unmasked by unmounting", "critical", mount_call("umount2", target="/proc/kcore", flags=2)),
    attack(
        "unmasked by a bind", "critical", mount_call("mount", source="/proc", target="/mnt", flags=MS_BIND)
    ),
    attack("unmasked by a clone of the tree", "critical", mount_call("open_tree", source="/proc", flags=1)),
    attack("unmasked by an attribute", "critical", mount_call("mount_setattr", target="/proc/sys")),
    attack(
        "the engine's socket under another name",
        "critical",
        unix_connected("/tmp/log"),
        sandbox=with_mount("/run/docker.sock", "/tmp/log"),
    ),
    attack(
        "the engine's socket in a folder",
        "critical",
        unix_connected("/h/containerd/containerd.sock"),
        sandbox=with_mount("/run", "/h"),
    ),
    attack(
        "the engine's socket behind a link",
        "critical",
        unix_connected("/tmp/x", file=File(path="/run/docker.sock", kind=FileKind.SOCKET)),
    ),
    attack("a shim's abstract socket", "critical", unix_connected("@/containerd-shim/moby/1/shim.sock@")),
    attack(
        "systemd by the system bus",
        "critical",
        unix_connected("/run/dbus/system_bus_socket"),
        sandbox=with_mount("/run/dbus", "/run/dbus"),
    ),
    attack("a disk's node elsewhere", "critical", device_opened("/opt/.x", BLOCK, 8, 0)),
    attack(
        "a disk's node by a relative name",
        "critical",
        node_made("./.d/disk", BLOCK, 8, 0),
        opened("../tmp/.d/disk", result=EPERM),
    ),
    attack("memory under another name", "critical", device_opened("/opt/.m", CHARACTER, 1, 1)),
    attack("kcore in a fresh proc", "critical", on("proc", "/tmp/p/kcore")),
    attack("model-specific registers", "critical", device_opened("/dev/cpu/0/msr", CHARACTER, 202, 0)),
    attack("shadow by the own root", "medium", opened("/proc/self/root/etc/shadow", result=EACCES)),
    attack("shadow of a mounted root", "medium", opened("/mnt/etc/shadow")),
    attack("shadow by a second name", "medium", linked("/etc/shadow", "/tmp/x", symbolic=False)),
    attack("shadow by a link", "medium", linked("/etc/shadow", "/tmp/x")),
    attack("cron by a link", "medium", linked("/tmp/x", "/etc/cron.d/x")),
    attack(
        "a written host file",
        "critical",
        opened("/h/cron.d/x", write=True),
        sandbox=with_mount("/etc", "/h"),
    ),
    attack(
        "a key of the host's root", "critical", opened("/h/.ssh/id_rsa"), sandbox=with_mount("/root", "/h")
    ),
    attack(
        "the runtime's program",
        "critical",
        opened("/usr/bin/runc", foreign_mount=True, write=True),
    ),
    attack("the runtime's program, busy", "high", opened("/proc/7/exe", result=-26, write=True)),
    attack("the environment of a host process", "high", on("proc", "/proc/4711/environ"), sandbox=HOST_PIDS),
    attack("the memory of a host process", "critical", on("proc", "/proc/4711/mem"), sandbox=HOST_PIDS),
    attack(
        "a set-uid file from the start",
        "medium",
        opened("/tmp/x", write=True, create=True, file=File(path="/tmp/x", mode=0o4755)),
    ),
    attack(
        "a mount that is swapped",
        "medium",
        *(called("renameat2", -100, 1, -100, 2, 2, at_s=n / 10) for n in range(12)),
    ),
    attack("a link that is swapped", "medium", *(linked("/", "/work/x", at_s=n / 10) for n in range(40))),
    attack("hooks by tracefs", "high", on("tracefs", "/sys/kernel/tracing/kprobe_events", write=True)),
    attack("devices allowed", "high", on("cgroup", "/sys/fs/cgroup/devices/devices.allow", write=True)),
    attack(
        "an interpreter for all",
        "critical",
        on("binfmt_misc", "/proc/sys/fs/binfmt_misc/register", write=True),
    ),
    attack("uevent_helper", "critical", on("sysfs", "/tmp/s/kernel/uevent_helper", write=True)),
    attack("a setting of sysfs", "high", on("sysfs", "/sys/kernel/mm/ksm/run", write=True)),
    attack("a canary", "critical", host_changed("/root/.aws/credentials", "opened", "canary")),
]


@pytest.mark.parametrize("attack", [*CASES, *IN_OTHER_WORDS], ids=lambda attack: attack.case)
def test_an_attack_is_found_at_its_floor(attack: Attack) -> None:
    assert is_found(attack), everything(attack.events, attack.sandbox)

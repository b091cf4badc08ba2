"""Files of the kernel's own file systems."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import File, FileKind, FileOpened
from detectors import Detector
from detectors.filesystem.binfmt_misc import BinfmtMisc
from detectors.filesystem.cgroup_control import CgroupControl
from detectors.filesystem.control_filesystems import ControlFilesystems
from detectors.filesystem.core_pattern import CorePattern
from detectors.filesystem.kernel_information import KernelInformation
from detectors.filesystem.kernel_memory import KernelMemory
from detectors.filesystem.kernel_settings import KernelSettings
from detectors.filesystem.release_agent import NotifyOnRelease, ReleaseAgent
from detectors.filesystem.sysrq import Sysrq
from detectors.filesystem.usermode_helper import UsermodeHelper
from tests.detectors.making import ENOENT, EPERM, EROFS, PLAIN, device_opened, on, opened, told, with_mount

CHARACTER = FileKind.CHARACTER

WRITES: list[tuple[type[Detector], str, str, str, str]] = [
    (CorePattern, "core-pattern", "proc", "/proc/sys/kernel/core_pattern", "critical"),
    (UsermodeHelper, "usermode-helper", "proc", "/proc/sys/kernel/modprobe", "critical"),
    (UsermodeHelper, "usermode-helper", "proc", "/proc/sys/kernel/hotplug", "critical"),
    (UsermodeHelper, "usermode-helper", "sysfs", "/sys/kernel/uevent_helper", "critical"),
    (BinfmtMisc, "binfmt-misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc/register", "critical"),
    (Sysrq, "sysrq-trigger", "proc", "/proc/sysrq-trigger", "critical"),
    (ReleaseAgent, "cgroup-release-agent", "cgroup", "/tmp/cg/release_agent", "critical"),
    (NotifyOnRelease, "cgroup-notify-on-release", "cgroup", "/tmp/cg/x/notify_on_release", "high"),
]


@pytest.mark.parametrize(("kind", "rule", "filesystem", "path", "severity"), WRITES)
def test_one_file_of_the_kernel(
    kind: type[Detector], rule: str, filesystem: str, path: str, severity: str
) -> None:
    milder = {"critical": "high", "high": "medium"}[severity]
    assert told(kind(), on(filesystem, path, write=True)) == [(rule, severity)]
    for result in (EROFS, EPERM, ENOENT):
        assert told(kind(), opened(path, write=True, result=result)) == [(rule, milder)]
    assert told(kind(), on(filesystem, path)) == []
    assert told(kind(), on("overlay", path, write=True)) == []
    assert told(kind(), on("tmpfs", path.replace("/", "/x", 1), write=True)) == []


def test_a_common_name_needs_its_folder() -> None:
    assert told(UsermodeHelper(), opened("/etc/modprobe", write=True, result=EROFS)) == []
    assert told(UsermodeHelper(), opened("modprobe", write=True, result=EROFS)) == [
        ("usermode-helper", "high")
    ]
    assert told(BinfmtMisc(), opened("/srv/app/register", write=True, result=EROFS)) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (on("proc", "/proc/sys/vm/overcommit_memory", write=True), "high"),
        (on("proc", "/tmp/p/sys/vm/overcommit_memory", write=True), "high"),
        (opened("/proc/sys/vm/overcommit_memory", write=True, result=EROFS), "medium"),
        (on("sysfs", "/sys/kernel/mm/ksm/run", write=True), "high"),
        (opened("/sys/kernel/mm/ksm/run", write=True, result=EROFS), "medium"),
        (on("proc", "/proc/mtrr", write=True), "high"),
        (on("proc", "/proc/sys/net/ipv4/ip_forward", write=True), "low"),
        (on("proc", "/proc/sys/kernel/hostname", write=True), "low"),
        (on("proc", "/proc/sys/kernel/shmmax", write=True), "low"),
    ],
)
def test_a_setting(event: FileOpened, severity: str) -> None:
    assert told(KernelSettings(), event) == [("kernel-setting", severity)]


def test_settings_of_the_network_are_the_hosts_in_its_namespace() -> None:
    event = on("proc", "/proc/sys/net/ipv4/ip_forward", write=True)
    sandbox = replace(PLAIN, host_namespaces=frozenset({"net"}))
    assert told(KernelSettings(), event, sandbox=sandbox) == [("kernel-setting", "high")]


def test_settings_by_a_mount_of_the_hosts_proc() -> None:
    event = opened("/host/proc/sys/vm/swappiness", write=True, result=EPERM)
    assert told(KernelSettings(), event) == []
    assert told(KernelSettings(), event, sandbox=with_mount("/proc", "/host/proc")) == [
        ("kernel-setting", "medium")
    ]


@pytest.mark.parametrize(
    "event",
    [
        on("proc", "/proc/sys/vm/overcommit_memory"),
        on("proc", "/proc/self/oom_score_adj", write=True),
        on("proc", "/proc/17/uid_map", write=True),
        on("proc", "/proc/17/task/18/comm", write=True),
        on("overlay", "/srv/sys/x", write=True),
        on("overlay", "/proc/sys/vm/x", write=True),
        on("cgroup", "/sys/fs/cgroup/memory/x", write=True),
        on("proc", "/proc/sys/kernel/core_pattern", write=True),
        opened("/etc/sysctl.conf", write=True, result=EROFS),
    ],
)
def test_no_setting(event: FileOpened) -> None:
    assert told(KernelSettings(), event) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (on("cgroup", "/sys/fs/cgroup/devices/x/devices.allow", write=True), "high"),
        (on("cgroup2", "/sys/fs/cgroup/memory.max", write=True), "medium"),
        (opened("/sys/fs/cgroup/devices/devices.allow", write=True, result=EROFS), "medium"),
        (opened("/sys/fs/cgroup/memory.max", write=True, result=EROFS), "low"),
    ],
)
def test_a_control_file_of_a_cgroup(event: FileOpened, severity: str) -> None:
    assert told(CgroupControl(), event) == [("cgroup-control", severity)]


@pytest.mark.parametrize(
    "event",
    [
        on("cgroup", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        on("cgroup", "/tmp/cg/release_agent", write=True),
        on("tmpfs", "/tmp/cg/devices.allow", write=True),
        opened("/tmp/cg/memory.max", write=True, result=EROFS),
    ],
)
def test_no_control_file_of_a_cgroup(event: FileOpened) -> None:
    assert told(CgroupControl(), event) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (on("debugfs", "/d/sched/features", write=True), "high"),
        (on("tracefs", "/sys/kernel/tracing/trace_pipe"), "medium"),
        (on("securityfs", "/sys/kernel/security/apparmor/.replace", write=True), "high"),
        (opened("/sys/kernel/debug/sched/features", result=ENOENT), "medium"),
        (opened("/sys/kernel/tracing/kprobe_events", result=EPERM, write=True), "medium"),
    ],
)
def test_a_control_file_system(event: FileOpened, severity: str) -> None:
    assert told(ControlFilesystems(), event) == [("kernel-control-filesystem", severity)]


def test_no_control_file_system() -> None:
    assert told(ControlFilesystems(), on("tmpfs", "/sys/kernel/debug/x")) == []
    assert told(ControlFilesystems(), on("sysfs", "/sys/kernel/mm/x", write=True)) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (on("proc", "/proc/kallsyms"), "medium"),
        (on("proc", "/tmp/p/kallsyms"), "medium"),
        (on("tmpfs", "/proc/keys", kind=CHARACTER, node_device=1 << 20 | 3), "medium"),
        (opened("/proc/timer_list", result=EPERM), "medium"),
        (opened("/sys/firmware/acpi/tables/DSDT", result=ENOENT), "medium"),
        (opened("/sys/firmware/dmi/tables/DMI", result=ENOENT), "low"),
        (device_opened("/opt/log", CHARACTER, 1, 11), "medium"),
    ],
)
def test_information_of_the_kernel(event: FileOpened, severity: str) -> None:
    assert told(KernelInformation(), event) == [("kernel-information", severity)]


@pytest.mark.parametrize("path", ["/proc/meminfo", "/proc/cpuinfo", "/srv/proc/kallsyms", "/etc/keys"])
def test_no_information_of_the_kernel(path: str) -> None:
    assert told(KernelInformation(), opened(path)) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (device_opened("/dev/mem", CHARACTER, 1, 1), "critical"),
        (device_opened("/opt/x", CHARACTER, 1, 4), "critical"),
        (device_opened("/opt/x", CHARACTER, 1, 2, result=EPERM), "high"),
        (on("proc", "/proc/kcore"), "critical"),
        (on("proc", "/tmp/p/kcore"), "critical"),
        (on("tmpfs", "/proc/kcore", kind=CHARACTER, node_device=1 << 20 | 3), "medium"),
        (opened("/dev/mem", result=EPERM), "high"),
        (opened("/dev/mem", result=ENOENT), "medium"),
    ],
)
def test_memory_of_the_machine(event: FileOpened, severity: str) -> None:
    assert told(KernelMemory(), event) == [("kernel-memory", severity)]


def test_no_memory_of_the_machine() -> None:
    for event in (
        on("proc", "/proc/17/mem"),
        on("overlay", "/srv/mem"),
        opened("/srv/port", result=EPERM),
        device_opened("/dev/null", CHARACTER, 1, 3),
        opened("/proc/kcore", file=File(path="/srv/kcore", filesystem="overlay")),
    ):
        assert told(KernelMemory(), event) == []

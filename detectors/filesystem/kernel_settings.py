"""Settings of the kernel: files below /proc/sys, in procfs outside of processes, and in sysfs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.core_pattern import CorePattern
from detectors.filesystem.paths import kernel_path
from detectors.filesystem.sysrq import Sysrq
from detectors.filesystem.usermode_helper import UsermodeHelper

KERNEL_SETTING = Rule(
    id="kernel-setting",
    title="Setting of the kernel opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1611", "T1562"),
    why="Most files below /proc/sys and /sys are of the whole host. A workload that can write them "
    "weakens or breaks every container on it.",
    remedy="Restore the setting. Keep /proc/sys and /sys read-only: no privileged container, no remount, no "
    "mount of the host's /proc or /sys. Set what a service needs by the engine's --sysctl.",
)

OF_A_PROCESS = re.compile(r"/proc/(?:self|thread-self|\d+)(?:/|\Z)")
OF_THE_KERNEL = re.compile(r"/(?:proc|sys)/")
NOT_SETTINGS = re.compile(
    r"/sys/fs/(?:cgroup|bpf|fuse|selinux)/|/sys/kernel/(?:debug|tracing|security|config)/"
)
# Of the container alone (namespaces(7)): its network, its System V and POSIX IPC, its name.
NAMESPACED = re.compile(
    r"/proc/sys/(?:net/|fs/mqueue/|user/|kernel/(?:msg|sem|shm|hostname\Z|domainname\Z|ns_last_pid\Z))"
)
CLAIMED = CorePattern.names | UsermodeHelper.names | Sysrq.names


class KernelSettings(Detector):
    rules = (KERNEL_SETTING,)
    events = (FileOpened,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or not event.write:
            return
        path = kernel_path(event.file, sandbox)
        if _is_setting(path) and (not event.file.resolved or event.file.filesystem in ("proc", "sysfs")):
            own = NAMESPACED.match(path) is not None and not sandbox.host_namespaces & {"net", "ipc", "uts"}
            yield attempt(
                KERNEL_SETTING,
                event,
                severity=Severity.LOW if own else None,
                otherwise=Severity.LOW if own else Severity.MEDIUM,
                identifier=clip("/".join(path.split("/")[:4])),
                path=clip(event.file.path),
            )


def _is_setting(path: str) -> bool:
    if OF_THE_KERNEL.match(path) is None or posixpath.basename(path) in CLAIMED:
        return False
    return OF_A_PROCESS.match(path) is None and NOT_SETTINGS.match(path) is None

"""Files of the kernel that runtimes hide from containers: keys, timers, symbols, logs, firmware."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from daemon.events import Event, FileKind, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.devices import KERNEL_LOG
from detectors.filesystem.paths import below, kernel_path

KERNEL_INFORMATION = Rule(
    id="kernel-information",
    title="Kernel information that is hidden from containers opened",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1082", "T1613"),
    why="Addresses of the kernel, its keys, its timers and the machine's firmware tell an attacker about "
    "the host and its other containers. Runtimes mask these files; who opens them looks for one that "
    "is not.",
    remedy="Keep the runtime's masked paths (no systempaths=unconfined), set kernel.kptr_restrict=2 and "
    "kernel.dmesg_restrict=1.",
)

FILES = frozenset(
    {
        *("/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/latency_stats"),
        *("/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo"),
        *("/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/dev/kmsg"),
    }
)
FOLDERS = ("/sys/firmware", "/proc/acpi", "/proc/scsi", "/sys/devices/virtual/powercap")
ORDINARY = ("/sys/firmware/dmi", "/sys/firmware/devicetree")
"""Read by lscpu(1) and installers."""


class KernelInformation(Detector):
    rules = (KERNEL_INFORMATION,)
    events = (FileOpened,)
    names = frozenset(posixpath.basename(path) for path in FILES) | {
        *("DSDT", "FACP", "SSDT", "tables", "smbios_entry_point", "DMI", "efivars", "scsi", "energy_uj"),
    }

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened):
            return
        path = "/dev/kmsg" if _is_kernel_log(event) else kernel_path(event.file, sandbox)
        what = path if path in FILES else next((folder for folder in FOLDERS if below(path, folder)), "")
        if what:
            yield finding(
                KERNEL_INFORMATION,
                event,
                severity=Severity.LOW if below(path, *ORDINARY) else None,
                identifier=what,
                path=clip(event.file.path),
                result=event.result,
            )


def _is_kernel_log(event: FileOpened) -> bool:
    return event.file.kind is FileKind.CHARACTER and event.file.node_device == KERNEL_LOG

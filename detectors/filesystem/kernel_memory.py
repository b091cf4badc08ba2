"""Memory and ports of the machine as files: /dev/mem, /dev/kmem, /dev/port, /proc/kcore, /proc/vmcore."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from daemon.events import Event, File, FileKind, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.devices import MEMORY, device_name
from detectors.filesystem.paths import kernel_path

KERNEL_MEMORY = Rule(
    id="kernel-memory",
    title="Memory of the machine opened",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1003"),
    why="These files are the memory of the kernel and of every process on the host. Reading them gives "
    "keys and passwords, writing them gives the host.",
    remedy="Stop the sandbox; if the file was reached, treat the host as taken over. No privileged "
    "container, no /dev/mem as a device, drop CAP_SYS_RAWIO.",
)

DEVICES = ("/dev/mem", "/dev/kmem", "/dev/port")
CORES = ("/proc/kcore", "/proc/vmcore")


class KernelMemory(Detector):
    rules = (KERNEL_MEMORY,)
    events = (FileOpened,)
    names = frozenset(posixpath.basename(path) for path in DEVICES + CORES)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        severity = _severity(event, sandbox) if isinstance(event, FileOpened) else None
        if isinstance(event, FileOpened) and severity is not None:
            yield finding(
                KERNEL_MEMORY,
                event,
                severity=severity,
                identifier=posixpath.basename(event.file.path),
                path=clip(event.file.path),
                result=event.result,
                node=device_name(event.file),
            )


def _severity(event: FileOpened, sandbox: Expectation) -> Severity | None:
    """Milder where it is masked or missing: then only the name was found."""
    named = kernel_path(event.file, sandbox) in DEVICES + CORES
    if _is_memory(event.file, named=named):
        return Severity.CRITICAL if event.succeeded else Severity.HIGH
    if not named:
        return None
    return Severity.HIGH if event.refused else Severity.MEDIUM


def _is_memory(file: File, *, named: bool) -> bool:
    if file.kind is FileKind.CHARACTER:
        return file.node_device in MEMORY
    return named and file.filesystem == "proc"

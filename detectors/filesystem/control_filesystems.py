"""File systems by which the kernel is traced, debugged and guarded: debugfs, tracefs, securityfs and kin."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import below, kernel_path

CONTROL_FILE_SYSTEM = Rule(
    id="kernel-control-filesystem",
    title="File system of the kernel's tracing, debugging or security opened",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1611", "T1562.001"),
    why="debugfs changes drivers, tracefs watches and hooks every process of the host, securityfs loads "
    "the profiles that confine containers, efivarfs can break the machine for good. None is "
    "namespaced.",
    remedy="Stop the sandbox if it wrote. Keep /sys read-only and these file systems out of containers.",
)

FILE_SYSTEMS = frozenset({"debugfs", "tracefs", "securityfs", "configfs", "efivarfs", "pstore"})
PLACES = (
    *("/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security", "/sys/kernel/config"),
    *("/sys/firmware/efi/efivars", "/sys/fs/pstore"),
)


class ControlFilesystems(Detector):
    """Reading is milder than writing, and what failed is milder than what did not."""

    rules = (CONTROL_FILE_SYSTEM,)
    events = (FileOpened,)
    names = frozenset(
        {"kprobe_events", "uprobe_events", "available_filter_functions", "tracing_on", "features"}
    )

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileOpened) and (place := _place(event, sandbox)):
            wrote = event.write and event.succeeded
            yield finding(
                CONTROL_FILE_SYSTEM,
                event,
                severity=None if wrote else Severity.MEDIUM,
                identifier=f"{place}:{'write' if event.write else 'read'}",
                path=clip(event.file.path),
                result=event.result,
            )


def _place(event: FileOpened, sandbox: Expectation) -> str:
    """Named by its file system where that was reached, else by the folder in which it is usually mounted."""
    if event.file.resolved:
        return event.file.filesystem if event.file.filesystem in FILE_SYSTEMS else ""
    path = kernel_path(event.file, sandbox)
    return next((place for place in PLACES if below(path, place)), "")

"""Running a file of a file system that the sandbox was not given.

The ways: a leaked descriptor (CVE-2024-21626), the runtime's /proc/self/exe (CVE-2019-5736), /proc/PID/root,
or a mount made inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Drift, Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

FOREIGN_EXECUTION = Rule(
    id="foreign-execution",
    title="A file from outside the sandbox's file systems was executed",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1611",),
    why="The program's file lies on another device than the mount that should hold its path. Only a way "
    "out of the sandbox's own file systems leads there.",
    remedy="Stop the sandbox and update the runtime (runc 1.1.12 closes its leaked descriptors). Look at "
    "the device in the evidence: if it is the host's root, treat the host's files as read.",
)

OTHER_PATHS = Drift.MOUNT_NAMESPACE | Drift.ROOT


class ForeignExecution(Detector):
    rules = (FOREIGN_EXECUTION,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessExecuted) or event.drift & OTHER_PATHS or not event.file.resolved:
            return
        file, mount = event.file, sandbox.mount_of(event.file.path)
        if mount is None or not mount.device or not file.device or not file.links:
            return
        if file.device != mount.device:
            yield finding(
                FOREIGN_EXECUTION,
                event,
                identifier=f"{file.device}:{file.inode}",
                path=clip(file.path),
                device=file.device,
                expected_device=mount.device,
            )

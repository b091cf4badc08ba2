"""Running a program from a mount that was set up noexec."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Drift, Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

NOEXEC_EXECUTION = Rule(
    id="noexec-execution",
    title="A program ran from a mount that forbids it",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1611", "T1562.001"),
    why="The kernel refuses programs on a noexec mount, so the mount is not what the sandbox was given: "
    "it was remounted, covered or reached by another way.",
    remedy="Stop the sandbox and compare its mountinfo with its profile. Drop CAP_SYS_ADMIN.",
)

OTHER_PATHS = Drift.MOUNT_NAMESPACE | Drift.ROOT


class NoexecExecution(Detector):
    rules = (NOEXEC_EXECUTION,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessExecuted) or event.drift & OTHER_PATHS or not event.file.resolved:
            return
        mount = sandbox.mount_of(event.file.path)
        if mount is not None and not mount.executable and event.file.links:
            yield finding(
                NOEXEC_EXECUTION,
                event,
                identifier=clip(mount.target),
                path=clip(event.file.path),
                mount=clip(mount.target),
            )

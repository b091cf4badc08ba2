"""Other files of the cgroup file systems: limits, devices, membership."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.paths import below, kernel_path
from detectors.filesystem.release_agent import NotifyOnRelease, ReleaseAgent

CGROUP_CONTROL = Rule(
    id="cgroup-control",
    title="Control file of a cgroup opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611", "T1499"),
    why="The sandbox's limits are in these files: memory, processes, devices. A workload that writes "
    "them sets its own limits or moves out of its group.",
    remedy="Keep cgroup file systems read-only in containers and use a cgroup namespace of its own.",
)

FILE_SYSTEMS = ("cgroup", "cgroup2")
PLACE = "/sys/fs/cgroup"
DEVICES = frozenset({"devices.allow", "devices.deny"})
CLAIMED = ReleaseAgent.names | NotifyOnRelease.names


class CgroupControl(Detector):
    rules = (CGROUP_CONTROL,)
    events = (FileOpened,)
    names = DEVICES

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or not event.write or not _is_control(event, sandbox):
            return
        name = posixpath.basename(event.file.path)
        if name not in CLAIMED:
            yield attempt(
                CGROUP_CONTROL,
                event,
                severity=Severity.HIGH if name in DEVICES else None,
                otherwise=Severity.MEDIUM if name in DEVICES else Severity.LOW,
                identifier=clip(name),
                path=clip(event.file.path),
            )


def _is_control(event: FileOpened, sandbox: Expectation) -> bool:
    if event.file.resolved:
        return event.file.filesystem in FILE_SYSTEMS
    return below(kernel_path(event.file, sandbox), PLACE)

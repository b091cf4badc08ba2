"""Running a file that is not the image's: dropped, downloaded, decoded or compiled."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

FRESH_EXECUTION = Rule(
    id="fresh-execution",
    title="A file that is not the image's was executed",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1105", "T1027", "T1059"),
    why="The program's file changed after the sandbox started, so nobody has judged it. Where the "
    "profile lets a workload run what it made, this is low and a trace for later; where it does not, "
    "it is an intrusion.",
    remedy="Fetch the file and look at it. Mount writable places noexec, as the default profile does.",
)


class FreshExecution(Detector):
    rules = (FRESH_EXECUTION,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted) and event.fresh and event.file.links:
            yield finding(
                FRESH_EXECUTION,
                event,
                severity=Severity.LOW if sandbox.fresh_exec else Severity.HIGH,
                identifier=f"{event.file.device}:{event.file.inode}",
                path=clip(event.file.path),
                argv=clip_all(event.argv),
            )

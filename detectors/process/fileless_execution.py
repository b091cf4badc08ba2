"""Running a program that no directory names: from memfd_create(2), O_TMPFILE, or a deleted file."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, File, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

FILELESS_EXECUTION = Rule(
    id="fileless-execution",
    title="A program without a file was executed",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1620", "T1027"),
    why="The program lies in memory alone, so no scanner and no copy of the file system shows it later. "
    "It also runs where every writable mount is noexec.",
    remedy="Pause the sandbox and take the program from /proc/PID/exe before it ends.",
)


class FilelessExecution(Detector):
    rules = (FILELESS_EXECUTION,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted) and is_fileless(event.file):
            yield finding(
                FILELESS_EXECUTION,
                event,
                identifier=clip(event.file.path),
                path=clip(event.file.path),
                argv=clip_all(event.argv),
            )


def is_fileless(file: File) -> bool:
    """No link is left. Sensors without an inode to look at have the kernel's own name of such a file."""
    return file.links == 0 or file.path.startswith(("/memfd:", "memfd:"))

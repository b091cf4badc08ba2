"""Code that is not the image's mapped into a program: dlopen(3), and programs run by the loader itself."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileMapped
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.process.fileless_execution import is_fileless

FRESH_LIBRARY = Rule(
    id="fresh-library",
    title="Code that is not the image's was mapped",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1574", "T1129"),
    why="A file that changed after the sandbox started became code of a process. Where the profile lets "
    "a workload run what it made (packages with native code), this is a trace; where it does not, an "
    "intrusion.",
    remedy="Fetch the file and look at it. Mount writable places noexec: the kernel then refuses the "
    "mapping.",
)


class FreshLibrary(Detector):
    rules = (FRESH_LIBRARY,)
    events = (FileMapped,)
    syscalls = frozenset({"mmap", "mprotect", "pkey_mprotect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileMapped) or not event.execute or not event.fresh or event.file is None:
            return
        # Just-in-time compilers map a memfd twice, once to write and once to run it.
        in_order = sandbox.fresh_exec or is_fileless(event.file)
        yield attempt(
            FRESH_LIBRARY,
            event,
            severity=Severity.LOW if in_order else Severity.HIGH,
            otherwise=Severity.LOW,
            identifier=f"{event.file.device}:{event.file.inode}",
            path=clip(event.file.path),
        )

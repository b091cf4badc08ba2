"""The dynamic loader run as a program (ld.so(8)): it maps and runs what could not be executed itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

LOADER_EXECUTION = Rule(
    id="loader-execution",
    title="The dynamic loader was run as a program",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1218", "T1574"),
    why="`ld.so PROGRAM` runs a file that lacks the right to be executed and hides its name. ldd does "
    "the same for its list, so it is only a trace unless the file lies on a noexec mount.",
    remedy="Look at the file named in the evidence.",
)

LOADER = re.compile(r"ld(?:64)?(?:-linux|-musl)?[-\w.]*\.so(?:\.\d+)*")


class LoaderExecution(Detector):
    rules = (LOADER_EXECUTION,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessExecuted):
            return
        if not LOADER.fullmatch(posixpath.basename(event.file.path)[:256]):
            return
        started = next((argument for argument in event.argv[1:] if not argument.startswith("-")), None)
        if started is not None:
            yield finding(
                LOADER_EXECUTION,
                event,
                severity=Severity.MEDIUM if _is_noexec(started, sandbox) else Severity.LOW,
                identifier=clip(started),
                argv=clip_all(event.argv),
            )


def _is_noexec(path: str, sandbox: Expectation) -> bool:
    mount = sandbox.mount_of(path)
    return mount is not None and not mount.executable

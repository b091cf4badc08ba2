"""Writes over programs and libraries of the system."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import location

SYSTEM_PROGRAM = Rule(
    id="system-program-write",
    title="Program or library of the system opened for writing",
    category=Category.FILESYSTEM,
    severity=Severity.LOW,
    techniques=("T1554", "T1036.005"),
    why="A changed or added program in the system's folders is run by whoever trusts the image. Package "
    "managers do this as well, so that it is a trace unless the sandbox has none to run.",
    remedy="Make the root file system read-only and run the workload as an unprivileged user.",
)

PROGRAMS = re.compile(r"/(?:usr/(?:local/)?)?s?bin/[^/]+\Z")
LIBRARIES = re.compile(
    r"/(?:usr/)?lib(?:32|64|x32)?/(?:[^/]+-linux-[^/]+/)?(?:lib[^/]+\.so[.\d]*|ld-[^/]+)\Z"
)


class SystemPrograms(Detector):
    rules = (SYSTEM_PROGRAM,)
    events = (FileOpened,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or not event.write or not (event.succeeded or event.refused):
            return
        path = location(event.file)
        if PROGRAMS.match(path) or LIBRARIES.match(path):
            changed = sandbox.managed and event.succeeded
            yield finding(
                SYSTEM_PROGRAM,
                event,
                severity=Severity.MEDIUM if changed else None,
                identifier=posixpath.dirname(path),
                path=clip(path),
                created=event.create,
                result=event.result,
            )

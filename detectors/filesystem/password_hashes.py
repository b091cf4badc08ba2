"""Reading the hashes of passwords."""

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

PASSWORD_HASHES = Rule(
    id="password-hashes",
    title="File of password hashes opened",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1003.008",),
    why="Only programs that log users in need the hashes. They are cracked elsewhere, and passwords are "
    "used twice.",
    remedy="Run workloads as an unprivileged user, and keep passwords out of images (lock the accounts).",
)

HASHES = re.compile(r"(?:\A|/)etc/(?:g?shadow-?|security/opasswd|master\.passwd)\Z")


class PasswordHashes(Detector):
    """Also in a root directory elsewhere, such as one that is mounted or unpacked."""

    rules = (PASSWORD_HASHES,)
    events = (FileOpened,)
    names = frozenset({"shadow", "shadow-", "gshadow", "gshadow-", "opasswd", "master.passwd"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileOpened) and HASHES.search(path := location(event.file)):
            yield finding(
                PASSWORD_HASHES,
                event,
                severity=None if event.succeeded or event.refused else Severity.LOW,
                identifier=posixpath.basename(path),
                path=clip(path),
                result=event.result,
            )

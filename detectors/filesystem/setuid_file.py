"""Files that give their caller the owner's rights."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator

from daemon.events import Event, File, FileKind, FileOpened, ModeChanged
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

SETUID_FILE = Rule(
    id="setuid-file",
    title="Set-uid or set-gid bit set",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1548.001",),
    why="Whoever runs the file later has its owner's rights: a door that an intruder leaves behind, and "
    "on a volume one that opens on the host.",
    remedy="Launch with no-new-privileges and mount writable places nosuid; remove the file from volumes.",
)


class SetuidFile(Detector):
    """By chmod(2) and its kin, or already when the file is made."""

    rules = (SETUID_FILE,)
    events = (ModeChanged, FileOpened)
    syscalls = frozenset({"chmod", "fchmod", "fchmodat", "fchmodat2"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        mode = _mode_set(event)
        if isinstance(event, ModeChanged | FileOpened) and _gives_rights(event.file, mode):
            yield finding(
                SETUID_FILE,
                event,
                severity=None if event.succeeded or event.refused else Severity.LOW,
                identifier=clip(posixpath.dirname(event.file.path)),
                path=clip(event.file.path),
                mode=f"{mode:04o}",
                result=event.result,
            )


def _mode_set(event: Event) -> int:
    if isinstance(event, ModeChanged):
        return event.mode
    return event.file.mode if isinstance(event, FileOpened) and event.create and event.write else 0


def _gives_rights(file: File, mode: int) -> bool:
    """Set-gid on a directory, or without execution for the group, is something else (chmod(2), fcntl(2))."""
    if file.kind is FileKind.DIRECTORY:
        return False
    if mode & stat.S_ISUID:
        return True
    return bool(mode & stat.S_ISGID and mode & stat.S_IXGRP) and file.kind is FileKind.REGULAR

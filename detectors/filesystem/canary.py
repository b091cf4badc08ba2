"""Canaries: files of the host that nobody has a reason to touch, and files that the daemon guards."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileOpened, HostFileChanged, Tier
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

CANARY = Rule(
    id="canary-touched",
    title="A canary file of the host was touched",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1083"),
    why="The file is of no use to anybody but an intruder who looks around. It was opened or changed: "
    "somebody is on the host's file system.",
    remedy="Find out who it was: the findings of the same second, then the host's own logs. A backup that "
    "reads every file is to leave canaries out.",
)
GUARDED_FILE = Rule(
    id="guarded-file",
    title="A guarded file was opened, and denied",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="The daemon lets nobody in a container open this file of the host. That it was tried means that "
    "the way to it is open.",
    remedy="Stop the sandbox and find the way by which it reached the file.",
)


class Canary(Detector):
    rules = (CANARY, GUARDED_FILE)
    events = (HostFileChanged, FileOpened)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, HostFileChanged) and event.role == "canary":
            yield finding(CANARY, event, identifier=event.path, path=clip(event.path), change=event.change)
        elif isinstance(event, FileOpened) and _is_denied(event):
            yield finding(GUARDED_FILE, event, identifier=clip(event.file.path), path=clip(event.file.path))


def _is_denied(event: FileOpened) -> bool:
    """Only the guard refuses a file that it has: the kernel's own refusals come without one."""
    return event.tier is Tier.NETLINK and event.refused and event.file.resolved and event.file.inode != 0

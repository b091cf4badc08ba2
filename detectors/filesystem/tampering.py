"""Changes of the daemon's own files, the engine's socket and the host's start-up files."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, HostFileChanged
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

TAMPERING = Rule(
    id="daemon-tampering",
    title="A file of the daemon was changed",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1562.001", "T1070"),
    why="Settings and profiles decide what sandboxes may do, the audit log tells what they did, the "
    "socket is how the daemon is asked. Who changes them wants other answers.",
    remedy="Compare with what was installed, verify the audit log against a checkpoint kept elsewhere, "
    "restart the daemon. An administrator's own change shows here too.",
)
HOST_PERSISTENCE = Rule(
    id="host-persistence",
    title="A start-up file of the host was changed",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1053.003", "T1574.006", "T1098.004"),
    why="cron, ld.so.preload and authorized_keys of the host are what a breakout writes first in order "
    "to stay.",
    remedy="Look at the file. If no administrator did it, treat the host as taken over.",
)

CHANGES = {
    "config": frozenset({"created", "modified", "attributes", "deleted", "moved"}),
    "profiles": frozenset({"created", "modified", "attributes", "deleted", "moved"}),
    "audit": frozenset({"attributes", "deleted", "moved"}),
    "socket": frozenset({"attributes", "deleted", "moved"}),
    "engine": frozenset({"attributes", "deleted", "moved"}),
    "persistence": frozenset({"created", "modified", "attributes", "deleted", "moved"}),
}
"""What of each role is nobody's daily work: the daemon itself appends to its log."""
WORST = frozenset({("audit", "deleted"), ("audit", "moved")})


class Tampering(Detector):
    rules = (TAMPERING, HOST_PERSISTENCE)
    events = (HostFileChanged,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, HostFileChanged) or event.change not in CHANGES.get(event.role, ()):
            return
        yield finding(
            HOST_PERSISTENCE if event.role == "persistence" else TAMPERING,
            event,
            severity=Severity.CRITICAL if (event.role, event.change) in WORST else None,
            identifier=clip(f"{event.path}:{event.change}"),
            path=clip(event.path),
            change=event.change,
            role=event.role,
        )

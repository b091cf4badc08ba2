"""Another root directory: chroot(2), pivot_root(2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, Mounted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip

ROOT_CHANGE = Rule(
    id="root-change",
    title="chroot or pivot_root called",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1611",),
    why="The usual last step of a breakout: with the host's disk or another process's root in reach, a "
    "new root makes it the attacker's. It also undoes an earlier chroot.",
    remedy="Drop CAP_SYS_CHROOT and CAP_SYS_ADMIN, and look at what lies at the path in the evidence.",
)

CALLS = frozenset({"chroot", "pivot_root"})
ROOT_OF_A_PROCESS = re.compile(r"/(?:\d+|self|thread-self)/(?:root|cwd|fd/\d+)(?:/|\Z)")
PATH_LIMIT = 4096


class RootChange(Detector):
    rules = (ROOT_CHANGE,)
    events = (Mounted,)
    syscalls = CALLS

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, Mounted) or event.syscall not in CALLS:
            return
        to_host = any(_leads_to_host(path[:PATH_LIMIT], sandbox) for path in (event.source, event.target))
        yield attempt(
            ROOT_CHANGE,
            event,
            severity=Severity.CRITICAL if to_host else None,
            otherwise=Severity.HIGH if to_host else Severity.MEDIUM,
            source=clip(event.source),
            target=clip(event.target),
        )


def _leads_to_host(path: str, sandbox: Expectation) -> bool:
    """Into a mount of the host's root, or through another process. The string is the attacker's: a hint."""
    mount = sandbox.mount_of(path)
    return ROOT_OF_A_PROCESS.search(path) is not None or (mount is not None and mount.source == "/")

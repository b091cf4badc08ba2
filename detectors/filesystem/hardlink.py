"""Hard links to files that are worth another name."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileLinked
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.host_paths import is_secret
from detectors.filesystem.paths import plain
from detectors.filesystem.sockets import is_engine

SECRET_HARDLINK = Rule(
    id="secret-hardlink",
    title="Hard link to a secret file made",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1003.008", "T1564"),
    why="By a second name the file is read without its own name being seen, and it outlives the first.",
    remedy="Set fs.protected_hardlinks=1 on the host and run the workload as an unprivileged user.",
)


class Hardlink(Detector):
    rules = (SECRET_HARDLINK,)
    events = (FileLinked,)
    syscalls = frozenset({"link", "linkat"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileLinked) or event.symbolic:
            return
        target = plain(event.target)
        if is_secret(target) or is_engine(target):
            yield finding(
                SECRET_HARDLINK,
                event,
                identifier=clip(target),
                target=clip(event.target),
                link=clip(event.link),
                result=event.result,
            )

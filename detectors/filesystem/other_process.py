"""Other processes by way of /proc/PID: their environment, memory, root and descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import kernel_path

OTHER_PROCESS = Rule(
    id="process-files",
    title="Files of another process below /proc opened",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1003.007", "T1552.007", "T1055.009"),
    why="environ and mem hold a process's secrets; root, cwd, exe and fd lead to its files, on the host "
    "if it is the host's. Within a sandbox of its own pids this is a debugger's daily work.",
    remedy="Give the container its own pid namespace (no --pid host) and drop CAP_SYS_PTRACE.",
)

SECRET = re.compile(r"/proc/(\d+)/(?:task/\d+/)?(environ|mem|root|cwd|exe|fd|map_files|maps|pagemap)(/|\Z)")
LEADS_ELSEWHERE = frozenset({"root", "cwd", "exe", "fd", "map_files"})
ADDRESSES = frozenset({"maps", "pagemap"})


class OtherProcess(Detector):
    """With a pid namespace of its own no number tells whose process it is: that stays low. What such a path
    led to is told by where it is (foreign-mount)."""

    rules = (OTHER_PROCESS,)
    events = (FileOpened,)
    names = frozenset({"environ"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or not (event.succeeded or event.refused):
            return
        match = SECRET.match(kernel_path(event.file, sandbox))
        if match is None or _is_dull(event, match):
            return
        with_host = "pid" in sandbox.host_namespaces
        if with_host and int(match[1]) in (event.process.pid, event.process.tid):
            return
        yield finding(
            OTHER_PROCESS,
            event,
            severity=_severity(event, match[2]) if with_host else Severity.LOW,
            identifier=match[2],
            path=clip(event.file.path),
            result=event.result,
            write=event.write,
        )


def _is_dull(event: FileOpened, match: re.Match[str]) -> bool:
    """Lists of descriptors and memory maps are read by ps, lsof and the like."""
    return event.succeeded and match[2] in LEADS_ELSEWHERE | ADDRESSES


def _severity(event: FileOpened, name: str) -> Severity:
    if not event.succeeded:
        return Severity.LOW if name in ADDRESSES else Severity.MEDIUM
    return Severity.CRITICAL if name == "mem" else Severity.HIGH

"""Files that do not belong to the sandbox's own mounts: the way out has been taken, whatever it was."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileKind, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

FOREIGN_MOUNT = Rule(
    id="foreign-mount",
    title="File of another mount namespace opened",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="The file was reached by a mount that the sandbox does not have: through the root or a "
    "descriptor of a process outside (/proc/PID/root, CVE-2024-21626), or one that was handed in.",
    remedy="Stop the sandbox and treat the file as read. No --pid host, no CAP_SYS_PTRACE; update the "
    "runtime.",
)
OUTSIDE_ROOT = Rule(
    id="outside-root",
    title="File outside of the mounted directory opened",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="The file lies on the file system that a mount shows a part of, but not in that part: by a file "
    "handle, by a race with a rename, or by a bug of the kernel.",
    remedy="Stop the sandbox and treat the file as read. Drop CAP_DAC_READ_SEARCH; give containers volumes "
    "on a file system of their own.",
)

STREAMS = frozenset({FileKind.FIFO, FileKind.SOCKET})
TERMINALS = frozenset({"devpts", "pipefs", "sockfs", "anon_inodefs"})
NAMESPACES = "nsfs"
"""Told by the detector of namespaces."""


class ForeignFile(Detector):
    rules = (FOREIGN_MOUNT, OUTSIDE_ROOT)
    events = (FileOpened,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or not event.succeeded or _is_handed_in(event):
            return
        for is_broken, rule in ((event.foreign_mount, FOREIGN_MOUNT), (event.outside_root, OUTSIDE_ROOT)):
            if is_broken:
                yield finding(
                    rule,
                    event,
                    identifier=f"{event.file.device}:{event.file.filesystem}",
                    path=clip(event.file.path),
                    syscall=event.syscall,
                    write=event.write,
                    device=f"{event.file.device >> 20}:{event.file.device & 0xFFFFF}",
                    inode=event.file.inode,
                )


def _is_handed_in(event: FileOpened) -> bool:
    """Standard streams, opened again by /dev/stdout or /proc/self/fd/1: the engine's pipes and terminals."""
    file = event.file
    return file.kind in STREAMS or file.filesystem in TERMINALS or file.filesystem == NAMESPACES

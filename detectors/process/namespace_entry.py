"""Entering another process's namespaces: setns(2), and the handles below /proc/PID/ns that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, File, FileOpened, NamespaceChanged, Process
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import attempt, clip

NAMESPACE_ENTRY = Rule(
    id="namespace-entry",
    title="setns: entering other namespaces",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="setns moves a task into namespaces that it did not make. Inside a sandbox there are none to "
    "enter but the host's or a neighbour's.",
    remedy="Stop the sandbox; on success treat the host as taken over. Never combine --pid host or a host "
    "mount of /proc with CAP_SYS_ADMIN or CAP_SYS_PTRACE.",
)
NAMESPACE_HANDLE = Rule(
    id="namespace-handle",
    title="Handle of another process's namespace opened",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A file below /proc/PID/ns is opened for one thing: to enter that namespace with setns.",
    remedy="Stop the sandbox. Keep its pid namespace its own, and its first process undumpable.",
)

HANDLE = re.compile(r"/\d+/(?:task/\d+/)?ns/[a-z_]+\Z")
PATH_LIMIT = 512


class NamespaceEntry(Detector):
    rules = (NAMESPACE_ENTRY, NAMESPACE_HANDLE)
    events = (NamespaceChanged, FileOpened)
    syscalls = frozenset({"setns"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, NamespaceChanged) and event.syscall == "setns":
            otherwise = Severity.CRITICAL if event.refused else Severity.HIGH
            yield attempt(NAMESPACE_ENTRY, event, otherwise=otherwise, flags=hex(event.flags))
        elif isinstance(event, FileOpened) and _is_handle(event):
            yield finding(NAMESPACE_HANDLE, event, path=clip(event.file.path), result=event.result)


def _is_handle(event: FileOpened) -> bool:
    if event.refused:
        return HANDLE.search(event.file.path[-PATH_LIMIT:]) is not None
    return event.file.filesystem == "nsfs" and not _is_own(event.file, event.process)


def _is_own(handle: File, process: Process) -> bool:
    """The inode of such a file is the number of its namespace (fs/nsfs.c). Unknown kinds are not judged."""
    own = (process.mnt_ns, process.pid_ns, process.net_ns, process.user_ns)
    return handle.inode == 0 or handle.inode in own

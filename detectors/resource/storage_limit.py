"""Filled file systems: a write met ENOSPC or EDQUOT, or the workspace is full."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Event, LimitReached, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, program

STORAGE_LIMIT = Rule(
    id="storage-limit",
    title="A file system of the sandbox is full",
    category=Category.RESOURCE,
    severity=Severity.LOW,
    techniques=("T1499",),
    why="Writable places of a sandbox are memory-backed and limited, so a full one hurts nobody else. In "
    "a container with a writable root it can be the host's disk that is full.",
    remedy="See which place it was. Give containers a read-only root and limited tmpfs mounts.",
)

WRITES = frozenset({"write", "pwrite64", "writev"})
FULL = (-errno.ENOSPC, -errno.EDQUOT)


class StorageLimit(Detector):
    """Of writes the sensor reports failures alone; anything else that met a full file system counts too."""

    rules = (STORAGE_LIMIT,)
    events = (LimitReached, SyscallEvent)
    syscalls = WRITES

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, LimitReached) and event.kind == "workspace":
            yield finding(STORAGE_LIMIT, event, limit=event.limit, used=event.used)
        elif isinstance(event, SyscallEvent) and event.result in FULL:
            yield finding(
                STORAGE_LIMIT,
                event,
                identifier=program(event),
                syscall=clip(event.syscall),
                result=event.result,
            )

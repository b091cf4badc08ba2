"""open_by_handle_at(2): opening a file by its number, past every directory and mount."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileOpened, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip

FILE_HANDLE = Rule(
    id="file-by-handle",
    title="open_by_handle_at: file opened by its number",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A handle names an inode of the file system below the container, mounted or not. Inode 2 is the "
    "host's root directory ('shocker').",
    remedy="Stop the sandbox; if it succeeded, treat the host's files as read. Drop CAP_DAC_READ_SEARCH and "
    "keep the default seccomp profile.",
)

CALL = "open_by_handle_at"


class FileHandle(Detector):
    rules = (FILE_HANDLE,)
    events = (FileOpened, SyscallMade)
    syscalls = frozenset({CALL})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileOpened | SyscallMade) and event.syscall == CALL:
            file = event.file if isinstance(event, FileOpened) else None
            yield attempt(
                FILE_HANDLE,
                event,
                otherwise=Severity.HIGH,
                identifier=CALL,
                path=clip(file.path) if file else "",
                inode=file.inode if file else 0,
            )

"""Running programs from /dev/shm: writable by all, memory-backed, and gone without a trace."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Event, File, ModeChanged, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

SHARED_MEMORY_EXECUTION = Rule(
    id="shared-memory-execution",
    title="A program in /dev/shm was executed or made executable",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1059", "T1564"),
    why="Shared memory holds semaphores and buffers, never programs. Attackers like it because it is "
    "always there, always writable and leaves nothing on a disk.",
    remedy="Keep /dev/shm noexec, as Docker's default does. Look at the file and at who wrote it.",
)

SHM = "/dev/shm"  # noqa: S108  # the path that is judged
INTERPRETER = re.compile(
    r"(?:.*/)?(?:(?:ba|da|a|k|z)?sh|python[\d.]*|perl[\d.]*|ruby[\d.]*|node|php[\d.]*|lua)"
)
EXECUTABLE = 0o111


class SharedMemoryExecution(Detector):
    rules = (SHARED_MEMORY_EXECUTION,)
    events = (ProcessExecuted, ModeChanged)
    syscalls = frozenset({"chmod", "fchmod", "fchmodat", "fchmodat2"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        path = _program(event, sandbox)
        if path is not None:
            yield finding(SHARED_MEMORY_EXECUTION, event, identifier=clip(path), path=clip(path))


def _program(event: Event, sandbox: Expectation) -> str | None:
    """The program or script in shared memory that the event is about."""
    if isinstance(event, ModeChanged):
        return event.file.path if event.mode & EXECUTABLE and _is_shared(event.file, sandbox) else None
    if not isinstance(event, ProcessExecuted):
        return None
    return event.file.path if _is_shared(event.file, sandbox) else _script(event.argv)


def _is_shared(file: File, sandbox: Expectation) -> bool:
    device = next((mount.device for mount in sandbox.mounts if mount.target == SHM), 0)
    return _lies_there(file.path) or (device != 0 and file.device == device)


def _lies_there(path: str) -> bool:
    return path.startswith(f"{SHM}/")


def _script(argv: tuple[str, ...]) -> str | None:
    """Of `sh /dev/shm/x`, and of a script executed for its #! line, whose argv the kernel makes the same."""
    if not argv or not INTERPRETER.fullmatch(clip(argv[0])):
        return None
    script = next((argument for argument in argv[1:] if not argument.startswith("-")), "")
    return script if _lies_there(script) else None

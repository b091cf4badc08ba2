"""Memory that is writable and executable at once (mmap(2), mprotect(2))."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileMapped
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip, program

WRITABLE_CODE = Rule(
    id="writable-code",
    title="Memory made writable and executable",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1055", "T1620"),
    why="Shellcode, packers and injected code need such memory. So do just-in-time compilers, which is "
    "why this is a trace and no alarm.",
    remedy="Note which program it was: in one that has no just-in-time compiler it deserves a look.",
)


class WritableCode(Detector):
    rules = (WRITABLE_CODE,)
    events = (FileMapped,)
    syscalls = frozenset({"mmap", "mprotect", "pkey_mprotect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileMapped) and event.write and event.execute:
            yield attempt(
                WRITABLE_CODE,
                event,
                otherwise=Severity.LOW,
                identifier=program(event),
                path=clip(event.file.path) if event.file else "",
            )

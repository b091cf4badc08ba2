"""An unprivileged process asks to be root: setuid(2), setreuid(2), setresuid(2)."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, program

ROOT_REQUEST = Rule(
    id="root-request",
    title="An unprivileged process asked to be root",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1548", "T1068"),
    why="Only a process that hopes to have been raised asks for user 0: the test at the end of most "
    "exploits.",
    remedy="Look at what the program did before. That the kernel refused means that it failed this time.",
)

IDS = {"setuid": 1, "setreuid": 2, "setresuid": 3}
"""How many of the first arguments are user ids; the names with 32 are those of the 32-bit entry."""


class RootRequest(Detector):
    rules = (ROOT_REQUEST,)
    events = (SyscallMade,)
    syscalls = frozenset({*IDS, *(f"{name}32" for name in IDS)})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SyscallMade) or event.syscall not in self.syscalls:
            return
        wanted = event.arguments[: IDS[event.syscall.removesuffix("32")]]
        if 0 in wanted and event.refused and event.process.uid != 0:
            yield finding(
                ROOT_REQUEST,
                event,
                identifier=program(event),
                syscall=clip(event.syscall),
                uid=event.process.uid,
                result=event.result,
            )

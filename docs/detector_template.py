"""TODO: the technique in one line, with the call or file it is about (man page, CVE or ATT&CK id).

Copy this file into detectors/<category>/, fill in what says TODO, and name the class in that folder's
DETECTORS. docs/writing-a-detector.md says why each part is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import attempt

TODO_RULE = Rule(
    id="todo-lower-case-with-dashes",
    title="TODO what happened, in the past tense",
    category=Category.PROCESS,  # TODO the folder's
    severity=Severity.MEDIUM,  # TODO of a success
    techniques=("T1059",),  # TODO https://attack.mitre.org/techniques/
    why="TODO what an attacker gains by it, and which ordinary programs do it too.",
    remedy="TODO what the reader does now, and which setting prevents it.",
)

SPAN_NS = 10_000_000_000
ENOUGH = 3


class Todo(Detector):
    rules = (TODO_RULE,)
    events = (SyscallMade,)  # TODO the kinds it wants, from daemon/events.py
    syscalls = frozenset({"getcpu"})  # TODO calls that the sensor must report; leave out if there are none

    def __init__(self) -> None:  # TODO leave out if one event is enough
        self._callers: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SyscallMade) or event.syscall not in self.syscalls:
            return
        count = self._callers.of(event.sandbox).add(event.process.pid, event.time_ns)
        if count >= ENOUGH:
            yield attempt(TODO_RULE, event, otherwise=Severity.LOW, callers=count)

    def forget(self, sandbox: str) -> None:  # TODO leave out with __init__
        self._callers.forget(sandbox)

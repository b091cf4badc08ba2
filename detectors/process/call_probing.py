"""Trying one system call after another to learn which the sandbox refuses."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import clip

CALL_PROBING = Rule(
    id="call-probing",
    title="Many different system calls were refused",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1613", "T1082"),
    why="Ordinary programs meet one or two refusals. Somebody who meets many different ones within "
    "seconds maps the seccomp filter and the capabilities, or tries exploit after exploit.",
    remedy="Stop the sandbox unless its program is a known test of confinement.",
)

SPAN_NS = 10_000_000_000
ENOUGH = 8


class CallProbing(Detector):
    rules = (CALL_PROBING,)
    events = (SyscallEvent,)

    def __init__(self) -> None:
        self._refused: PerSandbox[Recent[str]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SyscallEvent) or not event.refused:
            return
        count = self._refused.of(event.sandbox).add(clip(event.syscall), event.time_ns)
        if count >= ENOUGH:
            yield finding(CALL_PROBING, event, last=clip(event.syscall), different=count)

    def forget(self, sandbox: str) -> None:
        self._refused.forget(sandbox)

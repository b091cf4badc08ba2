"""Switching off the randomisation of addresses or making data executable (personality(2))."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, program

WEAK_PERSONALITY = Rule(
    id="weak-personality",
    title="Address randomisation switched off",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1562",),
    why="Without randomisation, or with all readable memory executable, a bug in a set-uid program or a "
    "runtime is easier to exploit. Debuggers do it too, so this is a trace alone.",
    remedy="Nothing, if somebody debugs. Otherwise look at what was started with it.",
)

ADDR_NO_RANDOMIZE = 0x004_0000
READ_IMPLIES_EXEC = 0x040_0000
QUERY = 0xFFFF_FFFF


class Personality(Detector):
    rules = (WEAK_PERSONALITY,)
    events = (SyscallMade,)
    syscalls = frozenset({"personality"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SyscallMade) or event.syscall != "personality" or not event.arguments:
            return
        persona = event.arguments[0] & QUERY
        if persona != QUERY and persona & (ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC):
            yield attempt(
                WEAK_PERSONALITY,
                event,
                otherwise=Severity.LOW,
                identifier=program(event),
                persona=hex(persona),
            )

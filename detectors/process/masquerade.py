"""Programs that call themselves threads of the kernel, as `ps` shows those: in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Connected, Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

MASQUERADE = Rule(
    id="kernel-thread-masquerade",
    title="A program calls itself a kernel thread",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1036.004",),
    why="Kernel threads never run in a sandbox. A program takes such a name so that whoever lists "
    "processes looks past it; miners and backdoors do.",
    remedy="Look at /proc/PID/exe of the process in the finding.",
)

BRACKETED = re.compile(r"\[[^\]]+\]")
THREAD = re.compile(r"kworker/.*|ksoftirqd/\d+|kthreadd|migration/\d+|rcu_\w+|kswapd\d+|watchdog/\d+")


class Masquerade(Detector):
    rules = (MASQUERADE,)
    events = (ProcessExecuted, Connected)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        name = _name(event)
        if name is not None:
            yield finding(MASQUERADE, event, identifier=name, name=name)


def _name(event: Event) -> str | None:
    if isinstance(event, ProcessExecuted) and event.argv:
        shown = clip(event.argv[0])
        if BRACKETED.fullmatch(shown) or THREAD.fullmatch(shown):
            return shown
    thread = clip(event.process.comm)
    return thread if THREAD.fullmatch(thread) else None

"""A program whose standard descriptors are a network connection: a reverse or bind shell."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

REVERSE_SHELL = Rule(
    id="reverse-shell",
    title="A program was started on a network connection",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1059.004", "T1095"),
    why="Standard input or output is an internet socket: whoever is at the other end gives the commands. "
    "Apart from inetd nothing starts programs like this.",
    remedy="Stop the sandbox. Find the connection's other end, and how the first command came in.",
)

STDIN = 0


class ReverseShell(Detector):
    """Input from a socket, or both outputs to it, is a conversation; one output alone may be an upload."""

    rules = (REVERSE_SHELL,)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted) and event.inet_stdio:
            both_ways = STDIN in event.inet_stdio or len(event.inet_stdio) > 1
            yield finding(
                REVERSE_SHELL,
                event,
                severity=Severity.HIGH if both_ways else Severity.MEDIUM,
                identifier=clip(event.file.path),
                path=clip(event.file.path),
                argv=clip_all(event.argv),
                descriptors=sorted(event.inet_stdio)[:3],
            )

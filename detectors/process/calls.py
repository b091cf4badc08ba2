"""The detector of calls whose mere use tells: each subclass names its calls and one rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from daemon.events import Event, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Finding, Severity
from detectors import Detector
from detectors.evidence import attempt


class CallDetector(Detector):
    events = (SyscallMade,)
    otherwise: ClassVar[Severity]
    """Of an attempt that the kernel or seccomp refused."""

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallMade) and event.syscall in self.syscalls:
            yield attempt(
                self.rules[0],
                event,
                otherwise=self.otherwise,
                arguments=[hex(argument) for argument in event.arguments[:6]],
            )

"""Programs that raise their caller: set-uid bits and file capabilities (execve(2), capabilities(7))."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip, clip_all

PRIVILEGED_PROGRAM = Rule(
    id="privileged-program",
    title="A set-uid program or one with file capabilities was executed",
    category=Category.PROCESS,
    severity=Severity.LOW,
    techniques=("T1548.001",),
    why="Such a program has more rights than its caller, so its bugs are the caller's gain. One that is "
    "not the image's own is a backdoor.",
    remedy="Start containers with no-new-privileges, which makes the bit worthless.",
)
NO_ARGUMENTS = Rule(
    id="privileged-program-without-arguments",
    title="A set-uid program was executed without even its name",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1068", "T1548.001"),
    why="An empty argv makes careless set-uid programs take the environment for arguments: CVE-2021-4034 "
    "in pkexec. No shell or library starts a program like this.",
    remedy="Stop the sandbox, start it with no-new-privileges, and update the program.",
)


class PrivilegedProgram(Detector):
    rules = (PRIVILEGED_PROGRAM, NO_ARGUMENTS)
    events = (ProcessExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, ProcessExecuted) or not event.privileged_by_file:
            return
        path = clip(event.file.path)
        # With no-new-privileges the kernel ignores the bit: that it counted is an anomaly by itself.
        severity = Severity.HIGH if event.fresh or sandbox.no_new_privileges else Severity.LOW
        yield finding(PRIVILEGED_PROGRAM, event, severity=severity, identifier=path, path=path)
        if event.argv in ((), ("",)):
            yield finding(NO_ARGUMENTS, event, identifier=path, path=path, argv=clip_all(event.argv))

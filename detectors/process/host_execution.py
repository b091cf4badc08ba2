"""A sandbox's file runs on the host: core_pattern, release_agent, modprobe, any other usermode helper."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, HostExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip

HOST_EXECUTION = Rule(
    id="host-execution",
    title="The host executed a file of a sandbox",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A process outside every sandbox, in the host's namespaces, runs a program that lies in this "
    "sandbox's file system. That is a breakout that has happened.",
    remedy="Isolate the host: it ran the attacker's code as root. Look at kernel.core_pattern, "
    "kernel.modprobe, uevent_helper and every release_agent.",
)


class HostExecution(Detector):
    rules = (HOST_EXECUTION,)
    events = (HostExecuted,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, HostExecuted):
            yield finding(
                HOST_EXECUTION,
                event,
                identifier=f"{event.file.device}:{event.file.inode}",
                path=clip(event.file.path),
            )

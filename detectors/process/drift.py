"""The invariant that no exploit can keep: after the first exec inside, a task never leaves its namespaces or
root and never gains rights. It names no technique because it needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from daemon.events import Drift, Event, ProcessExecuted, ProcessExited
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox

NAMESPACE_DRIFT = Rule(
    id="namespace-drift",
    title="Process left the namespaces of its sandbox",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A task is in another mount, user or pid namespace than its sandbox was given. Whatever brought "
    "it there, it can see what the sandbox must not.",
    remedy="Stop the sandbox at once. Compare the namespace in the evidence with /proc/1/ns of the host: if "
    "it is the host's, treat the host as taken over.",
)
CAPABILITY_DRIFT = Rule(
    id="capability-drift",
    title="Process gained capabilities",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1068", "T1548"),
    why="A task holds capabilities that its sandbox did not start with and that no set-uid program gave "
    "it: only a bug of the kernel or of the runtime does that.",
    remedy="Stop the sandbox at once and treat the host's kernel as exploited. Update the kernel.",
)
ROOT_DRIFT = Rule(
    id="root-drift",
    title="Process changed its root directory",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="A task resolves paths from another root than its sandbox's: the way to the host's files by "
    "chroot, pivot_root or an exploit.",
    remedy="Stop the sandbox. Drop CAP_SYS_CHROOT and CAP_SYS_ADMIN; keep host directories out of "
    "containers.",
)
UID_DRIFT = Rule(
    id="uid-drift",
    title="Process became another user",
    category=Category.PROCESS,
    severity=Severity.CRITICAL,
    techniques=("T1068", "T1548"),
    why="A task of an unprivileged sandbox has another user id and no set-uid program gave it.",
    remedy="Stop the sandbox at once and treat the host's kernel as exploited. Update the kernel.",
)

NAMESPACES = Drift.MOUNT_NAMESPACE | Drift.USER_NAMESPACE | Drift.PID_NAMESPACE
CREDENTIALS = Drift.CAPABILITIES | Drift.UID
CAP_SYS_CHROOT = 18
PARTS = (
    (NAMESPACES, NAMESPACE_DRIFT),
    (Drift.CAPABILITIES, CAPABILITY_DRIFT),
    (Drift.ROOT, ROOT_DRIFT),
    (Drift.UID, UID_DRIFT),
)
RAISED_LIMIT = 512


class InvariantDrift(Detector):
    """Knows which processes a set-uid program raised lawfully: their credentials differ from then on."""

    rules = (NAMESPACE_DRIFT, CAPABILITY_DRIFT, ROOT_DRIFT, UID_DRIFT)
    events = (Event,)

    def __init__(self) -> None:
        self._raised: PerSandbox[Bounded[int, None]] = PerSandbox(lambda: Bounded(RAISED_LIMIT))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if event.drift:
            yield from self._judge(event, sandbox)
        if isinstance(event, ProcessExited):
            self._raised.of(event.sandbox).pop(event.process.pid, None)

    def forget(self, sandbox: str) -> None:
        self._raised.forget(sandbox)

    def _judge(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        drift = event.drift
        if drift & CREDENTIALS and self._is_raised(event, sandbox):
            drift &= ~CREDENTIALS
        for part, rule in PARTS:
            if drift & part:
                yield finding(
                    rule,
                    event,
                    severity=_severity(drift, sandbox),
                    identifier=str(int(drift & part)),
                    **_evidence(event, sandbox),
                )

    def _is_raised(self, event: Event, sandbox: Expectation) -> bool:
        if sandbox.no_new_privileges:
            return False
        raised = self._raised.of(event.sandbox)
        by_file = isinstance(event, ProcessExecuted) and event.privileged_by_file
        if by_file or event.process.pid in raised or event.process.ppid in raised:
            raised[event.process.pid] = None
            return True
        return False


def _severity(drift: Drift, sandbox: Expectation) -> Severity:
    """Docker gives CAP_SYS_CHROOT to everybody: a chroot alone is what its owner allowed."""
    allowed = drift == Drift.ROOT and not sandbox.managed and sandbox.has(CAP_SYS_CHROOT)
    return Severity.HIGH if allowed else Severity.CRITICAL


def _evidence(event: Event, sandbox: Expectation) -> dict[str, Any]:
    process = event.process
    return {
        "drift": [flag.name for flag in Drift if flag & event.drift],
        "namespaces": {
            "mnt": process.mnt_ns,
            "pid": process.pid_ns,
            "net": process.net_ns,
            "user": process.user_ns,
        },
        "capabilities": hex(process.capabilities),
        "expected_capabilities": hex(sandbox.capabilities),
    }

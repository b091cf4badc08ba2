"""New namespaces from inside: unshare(2), clone(2) and clone3(2) with CLONE_NEW* flags."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, NamespaceChanged
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

NAMESPACE_CREATION = Rule(
    id="namespace-creation",
    title="New namespaces made inside the sandbox",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1611", "T1068"),
    why="In a user namespace of its own any program has every capability over what it makes there, and "
    "with it the parts of the kernel (mounts, nftables, cgroups) that most exploits need.",
    remedy="Deny unshare and clone with CLONE_NEW* by seccomp, as every profile here does. If the workload "
    "is a browser or a container tool, give it a runtime with a kernel of its own.",
)

CLONE_NEWUSER = 0x1000_0000


class NamespaceCreation(Detector):
    rules = (NAMESPACE_CREATION,)
    events = (NamespaceChanged,)
    syscalls = frozenset({"unshare", "clone", "clone3"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, NamespaceChanged) and event.syscall != "setns" and event.flags:
            otherwise = Severity.HIGH if event.flags & CLONE_NEWUSER else Severity.MEDIUM
            yield attempt(NAMESPACE_CREATION, event, otherwise=otherwise, flags=hex(event.flags))

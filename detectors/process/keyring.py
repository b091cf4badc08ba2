"""The kernel's keyrings (keyrings(7)): they belong to users of the host, not to containers."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

KEYRING = Rule(
    id="keyring-call",
    title="Kernel keyring used",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1555", "T1068"),
    why="Keyrings are not namespaced: a key of another container or of the host with the same user id "
    "can be found and read; their reference counts were exploited more than once.",
    remedy="Deny keyctl, add_key and request_key by seccomp; give sandboxes user ids that nobody else has.",
)


class Keyring(CallDetector):
    rules = (KEYRING,)
    syscalls = frozenset({"keyctl", "add_key", "request_key"})
    otherwise = Severity.MEDIUM

"""Page faults handled by the program itself (userfaultfd(2)): it holds the kernel still in a race."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.process.calls import CallDetector

USERFAULTFD = Rule(
    id="userfaultfd-call",
    title="userfaultfd requested",
    category=Category.PROCESS,
    severity=Severity.HIGH,
    techniques=("T1068",),
    why="Exploits use it to stop the kernel in the middle of a copy from user memory and win a race. Few "
    "ordinary programs need it (live migration, some garbage collectors).",
    remedy="Stop the sandbox unless its program is known to need it. Keep vm.unprivileged_userfaultfd=0.",
)


class Userfaultfd(CallDetector):
    rules = (USERFAULTFD,)
    syscalls = frozenset({"userfaultfd"})
    otherwise = Severity.MEDIUM

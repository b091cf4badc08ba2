"""seccomp: the list of system calls that reach the kernel at all."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    flags = subject.host_config["SecurityOpt"]
    if "seccomp=unconfined" in flags or not any(flag.startswith("seccomp=") for flag in flags):
        yield _threat("seccomp.off", "seccomp is off: unconfined", "leave `seccomp` at `profile`")
    elif not subject.engine.has_security("seccomp"):
        yield _threat(
            "seccomp.missing", "the engine has no seccomp", "use a kernel with CONFIG_SECCOMP_FILTER"
        )
    else:
        yield Control(id="seccomp", detail=f"allow-list `{subject.profile.seccomp.value}`")


def _threat(rule: str, reason: str, remedy: str) -> Threat:
    return Threat(
        id=rule, severity=RiskLevel.CRITICAL, reason=reason, remedy=remedy, cis="5.22", attack="T1611"
    )

"""The OCI runtime: one that the engine has and the profile attests."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    name = subject.host_config.get("Runtime") or subject.engine.default_runtime
    if name not in subject.engine.runtimes:
        known = ", ".join(subject.engine.runtimes)
        reason = f"runtime {name!r} is not registered with the engine: it has {known}"
        yield _threat(reason, f"register it in daemon.json, or choose of {known}")
    elif name not in subject.profile.runtimes.value:
        allowed = ", ".join(subject.profile.runtimes.value)
        reason = f"runtime {name!r} is not in profile {subject.profile.name!r}"
        yield _threat(reason, f"choose of {allowed}")
    else:
        yield Control(id="runtime", detail=name)


def _threat(reason: str, remedy: str) -> Threat:
    return Threat(id="runtime", severity=RiskLevel.HIGH, reason=reason, remedy=remedy, attack="T1611")

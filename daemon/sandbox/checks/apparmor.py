"""AppArmor: a lock of its own beside seccomp, where the kernel and the host have it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon import PROFILES
from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    name, flags = subject.profile.apparmor.value, subject.host_config["SecurityOpt"]
    without = RiskLevel.HIGH if subject.profile.apparmor_required.value else None
    if "apparmor=unconfined" in flags:
        yield _threat("apparmor.off", RiskLevel.HIGH, "AppArmor is off", "leave `apparmor` at `profile`")
    elif not subject.host.apparmor:
        reason = "AppArmor is not available on this kernel"
        yield _threat("apparmor.missing", without or RiskLevel.LOW, reason, "boot with apparmor=1")
    elif f"apparmor={name}" not in flags or name not in subject.host.apparmor_profiles:
        reason = f"AppArmor profile {name} is not loaded in enforce mode"
        remedy = f"load it: apparmor_parser -r {PROFILES}/apparmor/{name}"
        yield _threat("apparmor.not-loaded", without or RiskLevel.MEDIUM, reason, remedy)
    else:
        yield Control(id="apparmor", detail=f"profile {name}")


def _threat(rule: str, severity: RiskLevel, reason: str, remedy: str) -> Threat:
    return Threat(id=rule, severity=severity, reason=reason, remedy=remedy, cis="5.2", attack="T1611")

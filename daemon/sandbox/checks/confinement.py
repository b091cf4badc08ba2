"""seccomp, AppArmor, no-new-privileges and the read-only root: the locks that the runtime puts on."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check_seccomp(subject: Subject) -> Iterator[Verdict]:
    flags = subject.host_config["SecurityOpt"]
    if "seccomp=unconfined" in flags or not any(flag.startswith("seccomp=") for flag in flags):
        yield _threat(
            "seccomp.off", RiskLevel.CRITICAL, "seccomp is off", "leave `seccomp` at `profile`", "5.22"
        )
    elif not subject.engine.has_security("seccomp"):
        yield _threat(
            "seccomp.missing",
            RiskLevel.CRITICAL,
            "the engine has no seccomp",
            "use a kernel with CONFIG_SECCOMP",
            "5.22",
        )
    else:
        yield Control(id="seccomp", detail=f"allow-list `{subject.profile.seccomp.value}`")


def check_apparmor(subject: Subject) -> Iterator[Verdict]:
    name, required = subject.profile.apparmor.value, subject.profile.apparmor_required.value
    if "apparmor=unconfined" in subject.host_config["SecurityOpt"]:
        yield _threat(
            "apparmor.off", RiskLevel.HIGH, "AppArmor is off", "leave `apparmor` at `profile`", "5.2"
        )
    elif f"apparmor={name}" in subject.host_config["SecurityOpt"]:
        yield Control(id="apparmor", detail=f"profile {name}")
    elif subject.host.apparmor:
        severity = RiskLevel.HIGH if required else RiskLevel.MEDIUM
        remedy = "load it: apparmor_parser -r profiles/apparmor/container-kit-sandbox"
        yield _threat(
            "apparmor.not-loaded", severity, f"AppArmor profile {name} is not loaded", remedy, "5.2"
        )
    else:
        severity = RiskLevel.HIGH if required else RiskLevel.LOW
        yield _threat(
            "apparmor.missing",
            severity,
            "AppArmor is not available on this kernel",
            "boot with apparmor=1",
            "5.2",
        )


def check_new_privileges(subject: Subject) -> Iterator[Verdict]:
    if "no-new-privileges:true" in subject.host_config["SecurityOpt"]:
        yield Control(id="no-new-privileges", detail="setuid programs and file capabilities have no effect")
        return
    yield _threat(
        "new-privileges",
        RiskLevel.HIGH,
        "no-new-privileges is off",
        "leave `no_new_privileges` at true",
        "5.26",
    )


def check_root_file_system(subject: Subject) -> Iterator[Verdict]:
    if subject.host_config["ReadonlyRootfs"]:
        yield Control(id="root-file-system", detail="read-only; /tmp and /var/tmp are noexec, nosuid, nodev")
        return
    yield _threat(
        "root-file-system",
        RiskLevel.HIGH,
        "writable root file system",
        "leave `read_only_root` at true",
        "5.13",
    )


def _threat(rule: str, severity: RiskLevel, reason: str, remedy: str, cis: str) -> Threat:
    return Threat(id=rule, severity=severity, reason=reason, remedy=remedy, cis=cis, attack="T1611")

"""The engine and the host: what weakens every sandbox alike, and the runtime that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

OLDEST_ENGINE = (20, 10)
# First runc release of each line without the known escape.
FIXED_RUNC = (
    ((1, 1, 12), "CVE-2024-21626, a leaked working directory"),
    ((1, 2, 8), "CVE-2025-31133, masked paths replaced in a race"),
)


def check_runtime(subject: Subject) -> Iterator[Verdict]:
    name = subject.host_config.get("Runtime") or subject.engine.default_runtime
    if name not in subject.engine.runtimes:
        known = ", ".join(subject.engine.runtimes)
        yield _threat(
            "runtime",
            RiskLevel.HIGH,
            f"runtime {name!r} is not registered with the engine",
            f"choose of {known}",
        )
    elif name not in subject.profile.runtimes.value:
        allowed = ", ".join(subject.profile.runtimes.value)
        yield _threat(
            "runtime", RiskLevel.HIGH, f"runtime {name!r} is not in the profile", f"choose of {allowed}"
        )
    else:
        yield Control(id="runtime", detail=name)


def check_versions(subject: Subject) -> Iterator[Verdict]:
    engine = subject.engine
    if _version(engine.version)[:2] < OLDEST_ENGINE:
        yield _threat(
            "engine.old", RiskLevel.HIGH, f"Docker {engine.version} is too old", "use 20.10 or newer"
        )
    for fixed, escape in FIXED_RUNC:
        if _version(engine.runtime_version) < fixed:
            reason = f"runc {engine.runtime_version} may have {escape}"
            remedy = f"use {'.'.join(map(str, fixed))} or newer; a distribution may have fixed it in place"
            yield _threat("engine.runc", RiskLevel.MEDIUM, reason, remedy)
            return
    yield Control(id="engine", detail=f"Docker {engine.version}, runc {engine.runtime_version}")


def check_host(subject: Subject) -> Iterator[Verdict]:
    engine, host = subject.engine, subject.host
    if host.engine_tcp:
        reason = f"the engine listens on {host.engine_tcp[0]}: whoever reaches it is root"
        yield _threat("engine.tcp", RiskLevel.MEDIUM, reason, "remove -H tcp:// from dockerd")
    if host.unmitigated:
        names = ", ".join(host.unmitigated[:10])
        yield _threat(
            "host.cpu", RiskLevel.LOW, f"CPU weaknesses without a mitigation: {names}", "update the kernel"
        )
    if not (engine.has_security("userns") or engine.has_security("rootless")):
        yield _threat(
            "engine.userns", RiskLevel.LOW, "user ids are the host's own", "set userns-remap in dockerd"
        )
    if not engine.live_restore:
        yield _threat(
            "engine.live-restore",
            RiskLevel.LOW,
            "a restart of dockerd ends every sandbox",
            "set live-restore",
        )
    if engine.swarm:
        yield _threat(
            "engine.swarm", RiskLevel.LOW, "swarm mode opens ports that are not needed", "docker swarm leave"
        )
    if not engine.swap_limit:
        yield _threat(
            "engine.swap", RiskLevel.LOW, "swap is not limited by the kernel", "boot with swapaccount=1"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _threat(rule: str, severity: RiskLevel, reason: str, remedy: str) -> Threat:
    return Threat(id=rule, severity=severity, reason=reason, remedy=remedy, attack="T1611")

"""The engine and the host: what weakens every sandbox alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.facts import EngineFacts
from daemon.sandbox.report import Control, RiskLevel, Threat

OLDEST_ENGINE = (20, 10)
# Releases without the known escape: the first of each line that was fixed; newer lines never had it.
FIXED_RUNC = (
    ("CVE-2024-21626, a leaked working directory", ((1, 1, 12),)),
    ("CVE-2025-31133, masked paths replaced in a race", ((1, 2, 8), (1, 3, 3))),
)


def check_engine(subject: Subject) -> Iterator[Verdict]:
    engine = subject.engine
    if _version(engine.version)[:2] < OLDEST_ENGINE:
        reason = f"Docker {engine.version or 'of unknown version'} is not supported"
        yield _threat("engine.old", RiskLevel.HIGH, reason, "use 20.10 or newer")
    else:
        yield Control(id="engine", detail=f"Docker {engine.version}")


def check_runc(subject: Subject) -> Iterator[Verdict]:
    version = subject.engine.runtime_version
    escapes = [name for name, fixed in FIXED_RUNC if not _has_fix(_version(version), fixed)]
    if escapes:
        reason = f"runc {version or 'of unknown version'} may have {' and '.join(escapes)}"
        remedy = "use 1.2.8, 1.3.3 or newer; distributions fix it without changing the number: check theirs"
        yield _threat("engine.runc", RiskLevel.MEDIUM, reason, remedy)
    else:
        yield Control(id="runc", detail=f"runc {version} has no known escape")


def _has_fix(version: tuple[int, ...], fixed: tuple[tuple[int, ...], ...]) -> bool:
    same_line = [release for release in fixed if release[:2] == version[:2]]
    return version >= (same_line or fixed)[-1]


def check_host(subject: Subject) -> Iterator[Verdict]:
    threats = [*_exposure(subject), *_settings(subject.engine)]
    yield from threats
    if not threats:
        yield Control(
            id="host", detail="user ids remapped, engine not on the network, CPU weaknesses mitigated"
        )


def _exposure(subject: Subject) -> Iterator[Threat]:
    if addresses := subject.host.engine_tcp:
        reason = f"the engine listens on {addresses[0]}: whoever reaches it is root"
        yield _threat("engine.tcp", RiskLevel.MEDIUM, reason, "remove -H tcp:// from dockerd")
    if subject.host.unmitigated:
        reason = f"CPU weaknesses without a mitigation: {', '.join(subject.host.unmitigated[:10])}"
        yield _threat("host.cpu", RiskLevel.LOW, reason, "update the kernel and the CPU's microcode")


def _settings(engine: EngineFacts) -> Iterator[Threat]:
    if not (engine.has_security("userns") or engine.has_security("rootless")):
        yield _threat(
            "engine.userns", RiskLevel.LOW, "user ids are the host's own", "set userns-remap in dockerd"
        )
    if not engine.live_restore:
        reason = "a restart of dockerd ends every sandbox"
        yield _threat("engine.live-restore", RiskLevel.LOW, reason, "set live-restore in dockerd")
    if engine.swarm:
        reason = "swarm mode opens ports that are not needed"
        yield _threat("engine.swarm", RiskLevel.LOW, reason, "docker swarm leave", cis="5.1")
    if not engine.swap_limit:
        yield _threat(
            "engine.swap", RiskLevel.LOW, "swap is not limited by the kernel", "boot with swapaccount=1"
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _threat(rule: str, severity: RiskLevel, reason: str, remedy: str, cis: str | None = None) -> Threat:
    return Threat(id=rule, severity=severity, reason=reason, remedy=remedy, cis=cis, attack="T1611")

"""Limits: present in what the engine is asked, and not above the profile's ceilings."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.profile import LimitCeilings
from daemon.sandbox.report import Control, RiskLevel, Threat
from daemon.units import format_size

CIS = {"memory": "5.11", "swap": "5.11", "cpus": "5.12", "pids": "5.29", "nofile": "5.19", "core": "5.19"}
SIZES = {"memory", "swap", "workspace_size", "tmp_size", "output", "core"}
FIELDS = ("Memory", "MemorySwap", "NanoCpus", "PidsLimit")
ULIMITS = ("nofile", "core")


def check(subject: Subject) -> Iterator[Verdict]:
    missing = list(_missing(subject))
    above = [name for name in LimitCeilings.model_fields if _asked(subject, name) > _ceiling(subject, name)]
    for field in missing:
        yield _threat(f"limit.{field.lower()}", f"no limit: {field}", None)
    for name in above:
        asked, ceiling = _text(name, _asked(subject, name)), _text(name, _ceiling(subject, name))
        reason = f"limits.{name} {asked} exceeds the ceiling {ceiling} of profile {subject.profile.name!r}"
        yield _threat(f"limit.{name}", reason, CIS.get(name))
    if not missing and not above:
        limits = subject.options.limits
        memory = format_size(limits.memory)
        yield Control(
            id="limits",
            detail=f"{limits.cpus:g} CPUs, {memory}, {limits.pids} pids, {limits.timeout_s:g} s",
        )


def _missing(subject: Subject) -> Iterator[str]:
    """0 and -1 are Docker's ways to say "no limit"; of a ulimit only -1, as 0 is a limit."""
    host = subject.host_config
    ulimits = {ulimit["Name"]: min(ulimit["Soft"], ulimit["Hard"]) for ulimit in host.get("Ulimits") or ()}
    yield from (field for field in FIELDS if (host.get(field) or 0) <= 0)
    yield from (name for name in ULIMITS if ulimits.get(name, -1) < 0)


def _asked(subject: Subject, name: str) -> float:
    limits = subject.options.limits
    return float(limits.swap_total if name == "swap" else getattr(limits, name))


def _ceiling(subject: Subject, name: str) -> float:
    return float(getattr(subject.profile.limits, name).max)


def _text(name: str, value: float) -> str:
    return format_size(int(value)) if name in SIZES else f"{value:g}"


def _threat(rule: str, reason: str, cis: str | None) -> Threat:
    remedy = "ask for less, or for a profile that allows it"
    return Threat(id=rule, severity=RiskLevel.HIGH, reason=reason, remedy=remedy, cis=cis, attack="T1499")

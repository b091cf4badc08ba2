"""The network: none, unless the request needs it, its policy allows it, and the profile has it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

REFUSAL = "network access not permitted"


def check(subject: Subject) -> Iterator[Verdict]:
    options, profile = subject.options, subject.profile
    if not options.require_networking:
        yield from _without(subject)
    elif not options.security_policy.allow_networking:
        yield _threat(
            RiskLevel.HIGH, REFUSAL, "set security_policy.allow_networking, with a profile that has a network"
        )
    elif not profile.networking.value:
        yield _threat(
            RiskLevel.HIGH,
            f"{REFUSAL}: profile {profile.name!r} has no network",
            "choose a profile that has one",
        )
    else:
        yield _threat(
            RiskLevel.MEDIUM, f"network {profile.network.value!r}: data can leave", "do without if you can"
        )


def _without(subject: Subject) -> Iterator[Verdict]:
    if subject.body["NetworkDisabled"] and subject.host_config["NetworkMode"] == "none":
        yield Control(id="network", detail="own network namespace with only a loopback")
    else:
        yield _threat(
            RiskLevel.HIGH, f"{REFUSAL}: it was not asked for", "leave `host_namespaces` without net"
        )


def _threat(severity: RiskLevel, reason: str, remedy: str) -> Threat:
    return Threat(id="network", severity=severity, reason=reason, remedy=remedy, cis="5.30", attack="T1048")

"""Privileged mode switches every other protection off."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    if subject.host_config["Privileged"]:
        yield Threat(
            id="privileged",
            severity=RiskLevel.CRITICAL,
            reason="privileged mode: all capabilities, all devices, no seccomp, no AppArmor",
            remedy="leave `privileged` out",
            cis="5.5",
            attack="T1611",
        )
    else:
        yield Control(id="privileged", detail="not privileged")

"""The image gate, which has judged before: it reads images, and asks registries about their signatures."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    if subject.gate is None:
        yield Threat(
            id="image.unjudged",
            severity=RiskLevel.HIGH,
            reason="the image gate has not judged the image",
            remedy="launch through the daemon",
            attack="T1204.003",
        )
    else:
        yield from subject.gate

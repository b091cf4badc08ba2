"""Where it may connect to: no more than the profile lets it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.errors import PolicyError
from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.egress import effective
from daemon.sandbox.hostconfig import networked
from daemon.sandbox.report import Control, RiskLevel, Threat


def check(subject: Subject) -> Iterator[Verdict]:
    options, profile = subject.options, subject.profile
    if not networked(options, profile):
        if subject.body["NetworkDisabled"]:
            yield Control(id="egress", detail="nowhere to connect to")
        return
    try:
        rules = effective(profile.egress.value, options.security_policy.egress)
    except PolicyError as error:
        yield Threat(
            id="egress",
            severity=RiskLevel.HIGH,
            reason=str(error),
            remedy="ask for destinations and ports that the profile's `egress` holds",
            cis="5.30",
            attack="T1048",
        )
        return
    if rules is not None:
        listed = ", ".join(map(str, rules)) or "nowhere"
        yield Control(id="egress", detail=f"confined by the kernel to: {listed}"[:1000])

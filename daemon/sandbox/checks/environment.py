"""The environment: what was left out, and what looks like a secret that hostile code will read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

_SECRET_NAME = re.compile(
    r"((^|_)PASS|PASSW(OR)?D|PASSPHRASE|SECRET|TOKEN|(API|ACCESS|PRIVATE|SIGNING)_?KEY|CREDENTIAL)S?(_|$)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"A[KS]IA[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22}|xox[abprs]-[0-9A-Za-z-]{10}"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.|://[^/\s:@]{1,64}:[^/\s@]{1,64}@"
)


def check(subject: Subject) -> Iterator[Verdict]:
    if subject.environment.dropped:
        yield Threat(
            id="environment.dropped",
            severity=RiskLevel.LOW,
            reason=f"variables left out: {', '.join(name[:64] for name in subject.environment.dropped[:20])}",
            remedy="they steer a loader or interpreter, or are not on an allow-list: rename or leave out",
            attack="T1574.006",
        )
    secrets = [
        name
        for name, value in _variables(subject)
        if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value)
    ]
    if secrets:
        yield Threat(
            id="environment.secret",
            severity=RiskLevel.MEDIUM,
            reason=f"looks like a secret: {', '.join(name[:64] for name in secrets[:20])}",
            remedy="the program can read it: give it nothing that it may not keep",
            attack="T1552.007",
        )
    else:
        yield Control(id="environment", detail="no variable that looks like a secret or steers a loader")


def _variables(subject: Subject) -> Iterator[tuple[str, str]]:
    for variable in subject.environment.variables:
        name, given, value = variable.partition("=")
        if given:  # a bare name unsets what the image has
            yield name, value[:4096]

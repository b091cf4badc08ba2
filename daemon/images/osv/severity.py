"""How severe an advisory is: a CVSS vector's base score, or the word of its source."""

from __future__ import annotations

from typing import Any

from daemon.findings import Severity

_WORDS = {
    "NEGLIGIBLE": Severity.LOW,
    "LOW": Severity.LOW,
    "MODERATE": Severity.MEDIUM,
    "MEDIUM": Severity.MEDIUM,
    "IMPORTANT": Severity.HIGH,
    "HIGH": Severity.HIGH,
    "CRITICAL": Severity.CRITICAL,
}
# CVSS 3.1, 5: qualitative severity rating scale; 0.0 is "none", which nothing here is.
_SCALE = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.0, Severity.LOW))


def word(text: str | None) -> Severity | None:
    """None for UNKNOWN and any other word."""
    return _WORDS.get((text or "").upper())


def severity(advisory: dict[str, Any]) -> Severity | None:
    """The worst that it is given, None where it is given none."""
    given = [*(advisory.get("severity") or ()), *(advisory.get("affected_severity") or ())]
    found = [_of(item) for item in given if isinstance(item, dict)]
    found.append(word(advisory.get("named_severity")))
    return max((item for item in found if item), key=lambda item: item.rank, default=None)


def _of(item: dict[str, Any]) -> Severity | None:
    from cvss import CVSS2, CVSS3, CVSS4
    from cvss.exceptions import CVSSError

    kind, score = str(item.get("type")), str(item.get("score"))
    reader = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}.get(kind)
    if reader is None:
        return word(score)
    try:
        base = float(reader(score).scores()[0])
    except (CVSSError, ValueError, ArithmeticError):
        return None
    return next(level for floor, level in _SCALE if base >= floor)

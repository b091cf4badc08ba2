"""Risk: the worst threat decides. The score only orders reports of one level; it never blocks by itself.

A sum that blocks would make ten harmless remarks a refusal, and nobody could say which was the reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from daemon.sandbox.report import RiskLevel, Threat

WEIGHT = {RiskLevel.LOW: 1, RiskLevel.MEDIUM: 10, RiskLevel.HIGH: 100, RiskLevel.CRITICAL: 1000}


def assess(threats: Iterable[Threat]) -> tuple[RiskLevel, int]:
    """LOW and 0 where there is no threat. Adding a threat never lowers either."""
    severities = [threat.severity for threat in threats]
    level = max(severities, key=lambda severity: WEIGHT[severity], default=RiskLevel.LOW)
    return level, sum(WEIGHT[severity] for severity in severities)

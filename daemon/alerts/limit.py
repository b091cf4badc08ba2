"""How many alerts of one rule a channel is told."""

from __future__ import annotations

from collections import deque

from daemon.findings import Severity


class Limit:
    """`most` within `within_s`, of each severity and worse.

    So many harmless alerts leave room for a bad one: who wants to hide a break-out could make them at will.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most, self._within_s = most, within_s
        self._told = {severity: deque[float](maxlen=most) for severity in Severity}

    def allows(self, severity: Severity, now_s: float) -> bool:
        """Counts it where it is allowed."""
        recent = sum(self._recent(other, now_s) for other in Severity if other.at_least(severity))
        if recent >= self._most:
            return False
        self._told[severity].append(now_s)
        return True

    def _recent(self, severity: Severity, now_s: float) -> int:
        told = self._told[severity]
        while told and now_s - told[0] >= self._within_s:
            told.popleft()
        return len(told)

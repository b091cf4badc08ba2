"""What a detector returns: a Finding, and the Rule that it broke."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How bad it is, in rising order; compares by rank."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _RANK[self]

    def at_least(self, floor: Severity) -> bool:
        return self.rank >= floor.rank


_RANK = {severity: rank for rank, severity in enumerate(Severity)}

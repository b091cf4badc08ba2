"""What a detector returns: a Finding, and the Rule that it broke."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from daemon.events import Event


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


class Category(StrEnum):
    PROCESS = "process"
    FILESYSTEM = "filesystem"
    NETWORK = "network"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    id: str
    """Stable, lower case with dashes: other systems refer to it."""
    title: str
    category: Category
    severity: Severity
    techniques: tuple[str, ...]
    """ATT&CK ids."""
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`identifier` makes it the same one again: within a sandbox and rule it is counted, not told anew."""

    rule: Rule
    event: Event
    evidence: dict[str, Any] = field(default_factory=dict)
    identifier: str = ""
    severity: Severity
    """The rule's, or another where the case is milder or worse: a refused attempt, a privileged container."""


def finding(
    rule: Rule,
    event: Event,
    *,
    identifier: str = "",
    severity: Severity | None = None,
    **evidence: Any,
) -> Finding:
    """The usual way to make one: the rule's own severity unless another is given."""
    return Finding(
        rule=rule, event=event, evidence=evidence, identifier=identifier, severity=severity or rule.severity
    )

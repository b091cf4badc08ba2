"""An attack as events, and how to ask all detectors about it."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.events import Event
from daemon.expectation import Expectation
from daemon.findings import Severity
from detectors import filesystem, network, process, resource
from tests.detectors.making import PLAIN, STRICT, findings

KINDS = (*process.DETECTORS, *filesystem.DETECTORS, *network.DETECTORS, *resource.DETECTORS)


@dataclass(frozen=True)
class Attack:
    case: str
    category: str
    floor: str
    events: tuple[Event, ...]
    sandbox: Expectation = PLAIN


def pair(
    case: str,
    floor: str,
    own: tuple[Event, ...],
    strict: tuple[Event, ...],
    *,
    category: str = "process",
    sandbox: Expectation = PLAIN,
) -> list[Attack]:
    """With the case's own options, and in a tight sandbox."""
    return [
        Attack(f"{case} own", category, floor, own, sandbox),
        Attack(f"{case} strict", category, floor, strict, STRICT),
    ]


def everything(events: tuple[Event, ...], sandbox: Expectation) -> list[tuple[str, str, Severity]]:
    """Category, rule and severity of all findings of all detectors."""
    found = [finding for kind in KINDS for finding in findings(kind(), events, sandbox)]
    return [(str(finding.rule.category), finding.rule.id, finding.severity) for finding in found]


def is_found(attack: Attack) -> bool:
    """In its category and at its floor or above."""
    return any(
        category == attack.category and severity.at_least(Severity(attack.floor))
        for category, _, severity in everything(attack.events, attack.sandbox)
    )

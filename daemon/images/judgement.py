"""What findings mean under a policy. Pure: of what is asked for, what was found, and the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from daemon.findings import Severity
from daemon.images.exploits import NOTHING_KNOWN, Exploits
from daemon.images.findings import ImageIssue, ScanResult, SignatureFindings, Vulnerability, told
from daemon.images.policy import VulnerabilityException, VulnerabilityLimit
from daemon.images.scanners.builtin import staleness
from daemon.images.vex import Vex, excused
from daemon.sandbox.report import Control, RiskLevel, Threat

SHOWN = 20
REMEMBERED = 64
Verdict = Threat | Control


@dataclass(frozen=True, slots=True)
class Counted:
    """A vulnerability, and what it counts as under the policy."""

    found: Vulnerability
    severity: Severity
    remark: str = ""

    def __str__(self) -> str:
        found = self.found
        fix = f"fixed in {found.fixed_version[:64]}" if found.fixed_version else "no fix yet"
        severity = found.severity or f"unknown, counts as {self.severity}"
        used = ", known to be exploited" if found.exploited else ""
        used += f", EPSS {found.epss:.2g}" if found.epss is not None else ""
        return (
            f"{found.id} in {found.package[:64]} {found.version[:64]} ({severity}{used}, {fix}{self.remark})"
        )


@dataclass(frozen=True, slots=True)
class Exemptions:
    """Those for one image. `digests` are all that it has: of its manifests, and its id."""

    exceptions: tuple[VulnerabilityException, ...] = ()
    vex: tuple[Vex, ...] = ()
    digests: frozenset[str] = frozenset()


def judge_scan(
    limit: VulnerabilityLimit,
    result: ScanResult,
    exemptions: Exemptions,
    now: datetime,
    exploits: Exploits = NOTHING_KNOWN,
) -> Iterator[Verdict]:
    yield from _understanding(limit, result, now)
    if result.understood:
        by = told(result.scanner, result.version, result.database_time)
        yield Control(id="image.scanner", detail=f"vulnerabilities were looked for by {by}")
    yield from _of_vulnerabilities(limit, result, exemptions, now.date(), exploits)


@lru_cache(REMEMBERED)
def _of_vulnerabilities(
    limit: VulnerabilityLimit,
    result: ScanResult,
    exemptions: Exemptions,
    today: date,
    exploits: Exploits,
) -> tuple[Verdict, ...]:
    """The same all day: each launch of an image with thousands of them must not count them anew."""
    excuses = _excuses(result, exemptions) if exemptions.vex else {}
    left = [found for found in result.vulnerabilities if not excuses or found not in excuses]
    counted = [_counted(limit, exploits.mark(found), exemptions.exceptions, today) for found in left]
    over = [one for one in counted if one and one.severity.rank > limit.max_severity.rank]
    passed = (*_excused(excuses), *_let_pass(len(left) - len(over), limit, result))
    return (_vulnerable(limit, over), *passed) if over else passed


def _excuses(result: ScanResult, exemptions: Exemptions) -> dict[Vulnerability, str]:
    """Those that VEX excuses, and why."""
    return {
        found: why
        for found in result.vulnerabilities
        if (why := excused(exemptions.vex, found, exemptions.digests)) is not None
    }


def _excused(excuses: dict[Vulnerability, str]) -> Iterator[Threat]:
    if excuses:
        shown = [f"{one.id} in {one.package[:64]} ({why})" for one, why in list(excuses.items())[:SHOWN]]
        more = f"; and {len(excuses) - SHOWN} more" if len(excuses) > SHOWN else ""
        yield Threat(
            id="image.vulnerability.vex",
            severity=RiskLevel.LOW,
            reason=f"vulnerabilities that do not affect it, as VEX says: {'; '.join(shown)}{more}",
            remedy="build on what has the fixes; see [[vex]] in images.toml for who says so",
            cis="4.4",
        )


def _vulnerable(limit: VulnerabilityLimit, over: list[Counted]) -> Threat:
    return Threat(
        id="image.vulnerability",
        severity=_denial(over),
        reason=f"vulnerabilities above {limit.max_severity}: {_listed(over)}",
        remedy="build on what has the fixes, or add an exception with a reason and an end to images.toml",
        cis="4.4",
        attack="T1525",
    )


def _understanding(limit: VulnerabilityLimit, result: ScanResult, now: datetime) -> Iterator[Verdict]:
    """What was not understood counts as `unknown_as`."""
    if result.understood:
        max_age = timedelta(seconds=limit.max_database_age)
        problem = "; ".join(staleness(result.database_time, max_age, now))
    else:
        problem = result.unscannable_reason or "no reason is known"
    if problem:
        denied = limit.unknown_as.rank > limit.max_severity.rank
        yield Threat(
            id="image.unscannable",
            severity=RiskLevel.HIGH if denied else RiskLevel.LOW,
            reason=f"its vulnerabilities are not known to the scanner {result.scanner}: {problem[:1000]}",
            remedy="see docs/scanning.md for what lacks; `unknown_as` of images.toml says what it counts as",
            cis="4.4",
            attack="T1525",
        )


def _counted(
    limit: VulnerabilityLimit,
    found: Vulnerability,
    exceptions: tuple[VulnerabilityException, ...],
    today: date,
) -> Counted | None:
    """None: it is excepted, or has no fix where only fixable ones count."""
    mine = [one for one in exceptions if one.id == found.id and one.package in (None, found.package)]
    if any(one.expires >= today for one in mine) or (limit.fixable_only and not found.fixed_version):
        return None
    remark = f", its exception ended on {max(one.expires for one in mine)}" if mine else ""
    likely = limit.max_epss is not None and (found.epss or 0.0) > limit.max_epss
    worst = found.exploited or likely
    severity = Severity.CRITICAL if worst else found.severity or limit.unknown_as
    return Counted(found, severity, remark)


def _denial(over: list[Counted]) -> RiskLevel:
    worst = any(one.severity is Severity.CRITICAL for one in over)
    return RiskLevel.CRITICAL if worst else RiskLevel.HIGH


def _listed(over: list[Counted]) -> str:
    worst = sorted(over, key=_urgency)
    more = f"; and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
    return "; ".join(map(str, worst[:SHOWN])) + more


def _urgency(one: Counted) -> tuple[object, ...]:
    """The severest first; of those what is exploited, then what most likely will be."""
    return -one.severity.rank, not one.found.exploited, -(one.found.epss or 0.0), one.found.id


def _let_pass(count: int, limit: VulnerabilityLimit, result: ScanResult) -> Iterator[Verdict]:
    if count:
        yield Threat(
            id="image.vulnerability.accepted",
            severity=RiskLevel.LOW,
            reason=f"{count} vulnerabilities which the policy accepts: {limit.max_severity} or less, excepted"
            " or without a fix where only those with one count",
            remedy="build on what has the fixes",
            cis="4.4",
        )
    elif result.understood and not result.vulnerabilities:
        by = told(result.scanner, result.version, result.database_time)
        yield Control(id="image.vulnerabilities", detail=f"none known of {result.packages} packages, {by}")


def judge_signature(found: SignatureFindings) -> Verdict:
    """A threat that blocks where the requirement is not met, or where nobody can tell."""
    if found.met:
        return Control(id="image.signature", detail=f"{found.image} is signed by {', '.join(found.signers)}")
    have = f"{len(found.signers)} of {found.threshold} signatures that the policy asks for"
    why = "; ".join(sorted(set(found.refused)))
    reason = found.problem or f"{found.image} has {have}{f': {why}' if why else ''}"
    return Threat(
        id="image.signature",
        severity=RiskLevel.HIGH,
        reason=reason[:1000],
        remedy=found.remedy,
        cis="4.5",
        attack="T1525",
    )


def judge_issues(worst: Severity, issues: Iterable[ImageIssue]) -> Iterator[Verdict]:
    """One threat for each issue above `worst`, up to SHOWN, and one for all others."""
    found = sorted(issues, key=lambda issue: -issue.severity.rank)
    over = [issue for issue in found if issue.severity.rank > worst.rank][:SHOWN]
    for issue in over:
        severity = RiskLevel.CRITICAL if issue.severity is Severity.CRITICAL else RiskLevel.HIGH
        reason = f"{issue.title}: {issue.reason[:500]} ({issue.severity}, above {worst})"
        yield Threat(id=issue.id, severity=severity, reason=reason, remedy=issue.remedy, attack="T1525")
    if others := found[len(over) :]:
        yield Threat(
            id="image.issue.accepted",
            severity=RiskLevel.LOW,
            reason=f"{len(others)} more issues: {', '.join(sorted({issue.id for issue in others}))}",
            remedy="build without them; docs/scanning.md says what each is",
        )
    elif not over:
        yield Control(id="image.issues", detail="nothing stands out in its configuration and layers")

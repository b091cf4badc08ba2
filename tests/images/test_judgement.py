"""What findings mean under a policy: severities, unknown ones, ages, exceptions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from daemon.findings import Severity
from daemon.images.exploits import Exploits
from daemon.images.findings import ImageIssue, ScanResult, Vulnerability
from daemon.images.judgement import SHOWN, Exemptions, judge_issues, judge_scan
from daemon.images.policy import VulnerabilityException, VulnerabilityLimit
from daemon.sandbox.report import RiskLevel, Threat

LOW, MEDIUM, HIGH, CRITICAL = Severity
NOW = datetime(2030, 6, 15, 12, tzinfo=UTC)
CLEAN = ScanResult(scanner="test", understood=True, database_time=NOW - timedelta(days=1), packages=7)
FLAW = Vulnerability(id="CVE-1", package="zlib1g", version="1", severity=HIGH, fixed_version="2")


def scan(*found: Vulnerability, **changes: Any) -> ScanResult:
    return replace(CLEAN, vulnerabilities=found, **changes)


def limit(max_severity: Severity = MEDIUM, **more: Any) -> VulnerabilityLimit:
    return VulnerabilityLimit(max_severity=max_severity, **more)


def excepted(until: date, **more: Any) -> VulnerabilityException:
    given = {"id": "CVE-1", "images": ["docker.io"], "expires": until, "why": "for a test alone", **more}
    return VulnerabilityException.model_validate(given)


def judged(
    limit: VulnerabilityLimit, result: ScanResult, *excused: VulnerabilityException
) -> dict[str, RiskLevel]:
    return {
        one.id: one.severity
        for one in judge_scan(limit, result, Exemptions(excused), NOW)
        if isinstance(one, Threat)
    }


BLOCKED = {"image.vulnerability": RiskLevel.HIGH}
ACCEPTED = {"image.vulnerability.accepted": RiskLevel.LOW}


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("highest", Severity)
def test_only_what_is_above_the_limit_blocks(severity: Severity, highest: Severity) -> None:
    found = judged(limit(highest), scan(replace(FLAW, severity=severity)))
    blocks = any(level.blocks for level in found.values())
    assert blocks == (severity.rank > highest.rank)


@pytest.mark.parametrize(("unknown_as", "outcome"), [(HIGH, BLOCKED), (MEDIUM, ACCEPTED)])
def test_a_severity_that_nobody_gave(unknown_as: Severity, outcome: dict[str, RiskLevel]) -> None:
    assert judged(limit(unknown_as=unknown_as), scan(replace(FLAW, severity=None))) == outcome


def test_the_default_for_what_is_unknown_is_the_worst() -> None:
    assert judged(limit(HIGH), scan(replace(FLAW, severity=None))) == {
        "image.vulnerability": RiskLevel.CRITICAL
    }
    assert judged(limit(HIGH), scan(understood=False)) == {"image.unscannable": RiskLevel.HIGH}


def test_what_is_exploited_is_critical_whatever_its_score() -> None:
    found = judged(limit(HIGH), scan(replace(FLAW, severity=LOW, exploited=True)))
    assert found == {"image.vulnerability": RiskLevel.CRITICAL}


def marked(limit: VulnerabilityLimit, known: Exploits, *found: Vulnerability) -> list[Threat]:
    verdicts = judge_scan(limit, scan(*found), Exemptions(), NOW, known)
    return [one for one in verdicts if isinstance(one, Threat)]


def test_the_catalogue_and_the_forecast_make_it_critical() -> None:
    low = replace(FLAW, severity=LOW)
    kev, epss = Exploits(known=frozenset({"CVE-1"})), Exploits(epss={"CVE-1": 0.7})
    (threat,) = marked(limit(HIGH), kev, low)
    assert threat.severity is RiskLevel.CRITICAL
    assert "(low, known to be exploited, fixed in 2)" in threat.reason
    (threat,) = marked(limit(HIGH, max_epss=0.5), epss, low)
    assert threat.severity is RiskLevel.CRITICAL
    assert "(low, EPSS 0.7, fixed in 2)" in threat.reason
    for harmless in (limit(HIGH), limit(HIGH, max_epss=0.7)):
        assert [one.id for one in marked(harmless, epss, low)] == ["image.vulnerability.accepted"]


def test_what_is_exploited_is_told_first() -> None:
    names = [f"CVE-{number}" for number in range(4)]
    known = Exploits(known=frozenset({"CVE-2"}), epss={"CVE-3": 0.4, "CVE-1": 0.1})
    worst = [replace(FLAW, id=name, severity=CRITICAL) for name in names]
    (threat,) = marked(limit(), known, *worst)
    places = [threat.reason.index(f"{name} in") for name in ("CVE-2", "CVE-3", "CVE-1", "CVE-0")]
    assert places == sorted(places)


def test_only_those_with_a_fix_count_where_the_policy_says_so() -> None:
    unfixed = scan(replace(FLAW, fixed_version=None))
    assert judged(limit(fixable_only=True), unfixed) == ACCEPTED
    assert judged(limit(), unfixed) == BLOCKED
    assert judged(limit(fixable_only=True), scan(FLAW)) == BLOCKED


@pytest.mark.parametrize(
    ("age", "known"), [(timedelta(days=6), True), (timedelta(days=8), False), (timedelta(days=-2), False)]
)
def test_an_old_database_knows_nothing(age: timedelta, known: bool) -> None:
    found = judged(limit(), scan(database_time=NOW - age))
    assert found == ({} if known else {"image.unscannable": RiskLevel.HIGH})


def test_the_age_is_the_policy_s() -> None:
    old = scan(database_time=NOW - timedelta(days=8))
    assert judged(limit(max_database_age="240h"), old) == {}


def test_what_was_found_blocks_also_where_not_all_was_understood() -> None:
    half = scan(FLAW, understood=False, unscannable_reason="a damaged record")
    assert judged(limit(unknown_as=LOW), half) == {"image.unscannable": RiskLevel.LOW, **BLOCKED}


@pytest.mark.parametrize(
    ("excuse", "outcome"),
    [
        (excepted(NOW.date()), ACCEPTED),
        (excepted(NOW.date() - timedelta(days=1)), BLOCKED),
        (excepted(NOW.date(), id="CVE-2"), BLOCKED),
        (excepted(NOW.date(), package="zlib1g"), ACCEPTED),
        (excepted(NOW.date(), package="openssl"), BLOCKED),
    ],
)
def test_an_exception_is_for_one_thing_and_a_time(
    excuse: VulnerabilityException, outcome: dict[str, RiskLevel]
) -> None:
    assert judged(limit(), scan(FLAW), excuse) == outcome


def test_a_report_stays_short_and_counts_the_rest() -> None:
    many = scan(*(replace(FLAW, id=f"CVE-{number}") for number in range(SHOWN + 5)))
    (threat,) = [one for one in judge_scan(limit(), many, Exemptions(), NOW) if isinstance(one, Threat)]
    assert isinstance(threat, Threat)
    assert threat.reason.count("CVE-") == SHOWN
    assert threat.reason.endswith("; and 5 more")


def issue(name: str, severity: Severity) -> ImageIssue:
    return ImageIssue(id=name, title="Title", severity=severity, reason="reason", remedy="remedy")


def test_issues_above_the_limit_block_and_all_others_are_counted() -> None:
    found = [issue("image.volume", LOW), issue("image.device", HIGH), issue("image.secret", CRITICAL)]
    verdicts = list(judge_issues(MEDIUM, found))
    assert [(one.id, one.severity) for one in verdicts if isinstance(one, Threat)] == [
        ("image.secret", RiskLevel.CRITICAL),
        ("image.device", RiskLevel.HIGH),
        ("image.issue.accepted", RiskLevel.LOW),
    ]
    assert [one.id for one in judge_issues(MEDIUM, [])] == ["image.issues"]
    assert len(list(judge_issues(LOW, [issue("image.device", HIGH)] * 50))) == SHOWN + 1

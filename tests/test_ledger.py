"""Findings are told once and counted after; nobody's noise pushes out another's escape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.events import ProcessForked
from daemon.findings import Category, Finding, Rule, Severity, finding
from daemon.ledger import PER_CONTAINER, Ledger, boot_clock, plain
from tests.events import event, expectation

RULE = Rule(
    id="test-rule",
    title="A test",
    category=Category.PROCESS,
    severity=Severity.MEDIUM,
    techniques=("T1611",),
    why="tests",
    remedy="none",
)


def found(identifier: str = "", severity: Severity | None = None, **evidence: Any) -> Finding:
    return finding(RULE, event(ProcessForked), identifier=identifier, severity=severity, **evidence)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(boot_clock(realtime_ns=1_000_000_000, monotonic_ns=0))


def test_the_first_and_each_tenfold_are_news(ledger: Ledger) -> None:
    entries = [ledger.add(found("a"), expectation()) for _ in range(100)]
    assert [n for n, entry in enumerate(entries, 1) if entry.news] == [1, 10, 100]
    assert len(ledger.of(expectation().container_id)) == 1
    assert entries[0].record.count == 100


def test_a_worse_one_is_news_and_raises_the_severity(ledger: Ledger) -> None:
    ledger.add(found("a", n=1), expectation())
    entry = ledger.add(found("a", Severity.CRITICAL, n=2), expectation())
    assert entry.news
    assert (entry.record.severity, entry.record.evidence) == (Severity.CRITICAL, {"n": 2})
    assert not ledger.add(found("a", Severity.LOW), expectation()).news


def test_times_are_dates(ledger: Ledger) -> None:
    record = ledger.add(found(), expectation()).record
    assert record.time == datetime.fromtimestamp(1, UTC)


def test_noise_does_not_push_out_what_is_worse(ledger: Ledger) -> None:
    ledger.add(found("escape", Severity.CRITICAL), expectation())
    for number in range(2 * PER_CONTAINER):
        ledger.add(found(str(number), Severity.LOW), expectation())
    ledger.add(found("other"), expectation(container_id="d" * 64))
    kept = ledger.of(expectation().container_id)
    assert len(kept) == PER_CONTAINER
    assert kept[0].severity is Severity.CRITICAL
    assert len(ledger.of("d" * 64)) == 1


def test_since_is_in_order(ledger: Ledger) -> None:
    for number in range(5):
        ledger.add(found(str(number)), expectation(container_id="cd"[number % 2] * 64))
    assert [record.seq for record in ledger.since(2)] == [3, 4, 5]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.just("\udcff" * 5000),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_evidence_is_json_and_bounded(value: Any) -> None:
    assert len(json.dumps(plain(value))) < 40_000_000
    json.dumps(plain(value)).encode()


def test_long_evidence_is_cut_and_says_so() -> None:
    assert plain("x" * 2_000_000).endswith("... (2000000 characters)")
    assert len(plain(list(range(1000)))) == 32

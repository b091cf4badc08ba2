"""Files of evidence: private, durable, few."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.findings import Severity
from daemon.forensics.evidence import Evidence, EvidenceSummary
from daemon.forensics.store import FILE_BYTES, EvidenceStore, new_id, summary_of


def evidence(owner_uid: int | None = 1000, problems: tuple[str, ...] = ()) -> Evidence:
    summary = EvidenceSummary(
        id=new_id(),
        time=datetime.now(UTC),
        container_id="c" * 64,
        sandbox_id="s",
        session_id="s",
        owner_uid=owner_uid,
        finding_id="f" * 32,
        rule_id="rule",
        title='a title with "quotes" and a \u202e',
        severity=Severity.HIGH,
        response="alert",
    )
    parts: dict[str, Any] = {"findings": [], "processes": [], "events": [], "changes": []}
    return Evidence(summary=summary, problems=list(problems), **parts)


def test_it_is_private_and_comes_back_as_it_was(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "forensics", 10, 1 << 20)
    given = evidence(None)
    sha256 = store.put(given)
    (stored,) = store.all()
    assert store.find(given.summary.id) == stored
    assert (tmp_path / "forensics").stat().st_mode & 0o777 == 0o700
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert hashlib.sha256(stored.path.read_bytes()).hexdigest() == sha256
    assert Evidence.model_validate_json(stored.path.read_bytes()) == given
    assert summary_of(stored) == given.summary


@pytest.mark.parametrize("name", ["", "*", "../x", "a" * 31, "A" * 32])
def test_only_an_id_finds_one(tmp_path: Path, name: str) -> None:
    store = EvidenceStore(tmp_path, 10, 1 << 20)
    store.put(evidence())
    assert store.find(name) is None


def test_what_one_floods_pushes_out_nothing_of_another(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 5, 1 << 20)
    first = evidence(1)
    store.put(first)
    flood = [evidence(2) for _ in range(8)]
    for one in flood:
        store.put(one)
    kept = [one.id for one in store.all()]
    assert kept == sorted([first.summary.id, *(one.summary.id for one in flood[-4:])])


def test_their_bytes_are_limited_too(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 30_000)
    for _ in range(5):
        store.put(evidence(problems=("x" * 9_000,)))
    assert len(store.all()) == 3


def test_one_that_is_too_large_is_none(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 30)
    with pytest.raises(ValueError, match="at most"):
        store.put(evidence(problems=("x" * FILE_BYTES,)))
    assert store.all() == []


def test_what_a_crash_left_goes_at_the_start(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 20)
    store.put(evidence())
    (tmp_path / f"{new_id()}.0.json.part").write_bytes(b"{")
    store.clean()
    assert len(list(tmp_path.iterdir())) == 1
    EvidenceStore(tmp_path, 0, 1 << 20).clean()
    assert list(tmp_path.iterdir()) == []


def test_removed_between_listing_and_reading_it_is_none(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 20)
    assert EvidenceStore(tmp_path / "never made", 1, 1).all() == []
    store.put(evidence())
    (stored,) = store.all()
    stored.path.unlink()
    assert summary_of(stored) is None

"""Files of evidence: private, durable, few."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.api.forensics import summary_of
from daemon.findings import Severity
from daemon.forensics.evidence import Evidence, EvidenceSummary
from daemon.forensics.store import FILE_BYTES, EvidenceStore, new_id


def summary(owner_uid: int | None = 1000) -> EvidenceSummary:
    return EvidenceSummary(
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


def put(store: EvidenceStore, of: EvidenceSummary, problems: str = "") -> str:
    empty: dict[str, Any] = {"findings": [], "processes": [], "events": [], "changes": []}
    evidence = {"summary": of.model_dump(mode="json"), **empty, "problems": [problems]}
    return store.put(of.id, of.owner_uid, evidence)


def test_it_is_private_and_comes_back_as_it_was(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "forensics", 10, 1 << 20)
    given = summary(None)
    sha256 = put(store, given)
    (stored,) = store.all()
    assert store.find(given.id) == stored
    assert (tmp_path / "forensics").stat().st_mode & 0o777 == 0o700
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert hashlib.sha256(stored.path.read_bytes()).hexdigest() == sha256
    assert Evidence.model_validate_json(stored.path.read_bytes()).summary == given
    assert summary_of(stored) == given


@pytest.mark.parametrize("name", ["", "*", "../x", "a" * 31, "A" * 32])
def test_only_an_id_finds_one(tmp_path: Path, name: str) -> None:
    store = EvidenceStore(tmp_path, 10, 1 << 20)
    put(store, summary())
    assert store.find(name) is None


def test_what_one_floods_pushes_out_nothing_of_another(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 5, 1 << 20)
    first = summary(1)
    put(store, first)
    flood = [summary(2) for _ in range(8)]
    for one in flood:
        put(store, one)
    kept = [one.id for one in store.all()]
    assert kept == sorted([first.id, *(one.id for one in flood[-4:])])


def test_their_bytes_are_limited_too(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 30_000)
    for _ in range(5):
        put(store, summary(), "x" * 9_000)
    assert len(store.all()) == 3


def test_one_that_is_too_large_is_none(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 30)
    with pytest.raises(ValueError, match="at most"):
        put(store, summary(), "x" * FILE_BYTES)
    assert store.all() == []


def test_what_a_crash_left_goes_at_the_start(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 20)
    put(store, summary())
    (tmp_path / f"{new_id()}.0.json.part").write_bytes(b"{")
    store.clean()
    assert len(list(tmp_path.iterdir())) == 1
    EvidenceStore(tmp_path, 0, 1 << 20).clean()
    assert list(tmp_path.iterdir()) == []


def test_removed_between_listing_and_reading_it_is_none(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 100, 1 << 20)
    assert EvidenceStore(tmp_path / "never made", 1, 1).all() == []
    put(store, summary())
    (stored,) = store.all()
    stored.path.unlink()
    assert summary_of(stored) is None

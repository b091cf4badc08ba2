"""What an export proves to somebody without the log, and what it does not let pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.audit.export import check, export
from daemon.audit.key import SigningKey, signing_key
from daemon.audit.log import HEAD
from daemon.audit.segments import all_lines
from daemon.cli import main
from daemon.errors import AuditError
from tests.test_audit_retention import key, original, retired, retired_once, whole
from tests.test_audit_segments import EVENTS, EVERY, LINES

# Fixtures, which pytest finds by their names here.
__all__ = ["key", "original", "retired", "retired_once", "whole"]


def notes(log: Path) -> list[str]:
    events = [json.loads(line) for line in all_lines(log)]
    return [one["details"]["checkpoint"] for one in events if one["event_type"] == "AUDIT_CHECKPOINT"]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, LINES - 1), (20, 40), (33, 33), (6, 7)])
def test_a_range_is_proved_without_the_log(whole: Path, key: SigningKey, first: int, last: int) -> None:
    lines = list(export(whole, key.verifier, first, last))
    assert lines[1:] == list(all_lines(whole))[first - 1 : last]
    header, kept = check(lines, key.verifier)
    assert (header.first, header.last, len(kept)) == (first, last, last - first + 1)


def test_without_an_end_it_goes_up_to_the_last_checkpoint(whole: Path, key: SigningKey) -> None:
    header, _ = check(export(whole, key.verifier, 1, None), key.verifier)
    assert header.last == LINES - 1


def test_it_goes_on_from_older_checkpoints(whole: Path, key: SigningKey) -> None:
    older = notes(whole)[:4]
    lines = list(export(whole, key.verifier, 30, 50, older))
    check(lines, key.verifier, older)
    forged = key.sign(key.verifier.open(older[1]).size, bytes(32))
    with pytest.raises(AuditError, match="not the log of which 11 lines were signed"):
        check(lines, key.verifier, [forged])
    with pytest.raises(AuditError, match="no proof for the checkpoint of"):
        check(lines, key.verifier, notes(whole)[5:6])
    with pytest.raises(AuditError, match="does not go on from that of 11 lines"):
        check(export(whole, key.verifier, 30, 50, [forged]), key.verifier)


def test_what_was_retired_is_still_gone_on_from(retired: Path, original: Path, key: SigningKey) -> None:
    older = notes(original / "audit.jsonl")[:3]
    first = json.loads(next(all_lines(retired)))["seq"]
    check(export(retired, key.verifier, first, None, older), key.verifier, older)
    with pytest.raises(AuditError, match=f"event 1 is not in .*, {first} is the next one"):
        list(export(retired, key.verifier, 1, None))


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        (LINES + 1, None, "no checkpoint stands for event"),
        (LINES, LINES, "no checkpoint stands for event"),
        (5, LINES, f"events up to {LINES - 1} are under a checkpoint"),
        (5, 4, "the last event is before the first"),
    ],
)
def test_what_cannot_be_exported_is_said(
    whole: Path, key: SigningKey, first: int, last: int | None, reason: str
) -> None:
    with pytest.raises(AuditError, match=reason):
        list(export(whole, key.verifier, first, last))


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[4].replace(b"allowed", b"refused"), *lines[5:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def of_another_place(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, index=3), *lines[1:]]


def fewer(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, lines=20, last=39), *lines[1:-1]]


def without_proof(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, proof=[]), *lines[1:]]


def other_proof(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, proof=7), *lines[1:]]


def unsigned(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, checkpoint="x\n1\n"), *lines[1:]]


def of_another_format(lines: list[bytes]) -> list[bytes]:
    return [with_head(lines, format="x"), *lines[1:]]


def headless(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def nothing(_: list[bytes]) -> list[bytes]:
    return []


def with_head(lines: list[bytes], /, **changes: object) -> bytes:
    return json.dumps({**json.loads(lines[0]), **changes}).encode()


@pytest.mark.parametrize(
    "change",
    [
        edited,
        cut,
        swapped,
        of_another_place,
        fewer,
        without_proof,
        other_proof,
        unsigned,
        of_another_format,
        headless,
        nothing,
    ],
)
def test_a_change_is_found(
    whole: Path, key: SigningKey, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    lines = list(export(whole, key.verifier, 20, 40))
    with pytest.raises(AuditError):
        check(change(lines), key.verifier)


def test_another_key_proves_nothing(whole: Path, key: SigningKey, tmp_path: Path) -> None:
    other = signing_key(tmp_path / "other")
    with pytest.raises(AuditError, match="not signed by this log's key"):
        check(export(whole, key.verifier, 20, 40), other.verifier)


def test_the_commands(whole: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/audit").symlink_to(tmp_path)
    run = CliRunner().invoke
    log = ["audit", "--state-dir", str(tmp_path / "state")]
    older, file = tmp_path / "older", tmp_path / "export"
    older.write_text(notes(whole)[0])
    options = ["--first", "30", "--last", "50", "--against", str(older)]
    file.write_bytes(run(main, [*log, "export", *options]).output_bytes)
    checking = ["audit", "check", str(file), "--key", str(key.verifier)]
    done = run(main, [*checking, "--against", str(older)])
    assert (done.exit_code, done.output) == (0, "events 30 to 50: 21 lines, as they were signed\n")
    done = run(main, [*checking, "--against", str(whole.with_name(HEAD))])
    assert (done.exit_code, done.output.partition(":")[0]) == (1, "no proof for the checkpoint of 77 lines")
    assert len(notes(whole)) == EVENTS // EVERY

"""What retention deletes, what is left of it, and that nobody can pass off something else as its work."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daemon.audit import retention as retaining
from daemon.audit import tombstone
from daemon.audit.evidence import prove
from daemon.audit.key import SigningKey, Verifier, signing_key
from daemon.audit.log import AuditLog
from daemon.audit.opening import tree_of
from daemon.audit.proofs import root_from_proof
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.retention import Limits, Retention
from daemon.audit.segments import all_lines, history, segments, seq_of, tombstone_path
from daemon.audit.tree import leaf_hash
from daemon.audit.verify import verify
from daemon.cli import main
from daemon.errors import AuditError
from tests.test_audit_segments import EVENTS, EVERY, SEGMENT_BYTES, record, written

KEPT_BYTES = 3 * SEGMENT_BYTES


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    asyncio.run(written(folder / "audit.jsonl", signing_key(folder)))
    return folder


@pytest.fixture(scope="module")
def retired_once(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Retired down to KEPT_BYTES, and recorded on."""
    folder = tmp_path_factory.mktemp("retired")
    shutil.copytree(original, folder, dirs_exist_ok=True)

    async def retire() -> None:
        log, key = AuditLog(folder / "audit.jsonl", SEGMENT_BYTES), signing_key(folder)
        await Retention(log, key, Limits(limit_bytes=KEPT_BYTES), lambda: 0).step()
        await record(log, key, EVERY)
        log.close()

    asyncio.run(retire())
    return folder


@pytest.fixture
def whole(tmp_path: Path, original: Path) -> Path:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path / "audit.jsonl"


@pytest.fixture
def retired(tmp_path: Path, retired_once: Path) -> Path:
    shutil.copytree(retired_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "audit.jsonl"


@pytest.fixture
def key(original: Path) -> SigningKey:
    return signing_key(original)


@pytest.fixture
async def log(whole: Path) -> AsyncIterator[AuditLog]:
    opened = AuditLog(whole, SEGMENT_BYTES)
    yield opened
    opened.close()


def size_bytes(log: Path) -> int:
    return sum(segment.path.stat().st_size for segment in segments(log))


def tombstones(log: Path) -> list[Path]:
    return [part.path for part in history(log) if part.retired]


async def told(log: AuditLog) -> list[SecurityAuditEvent]:
    return [event for event in await log.read(0, 1000) if event.event_type is EventType.AUDIT_RETIRED]


@pytest.mark.parametrize(
    ("limits", "read", "reason"),
    [
        (Limits(), True, None),
        (Limits(keep_bytes=99), True, "kept for long enough, and read by all"),
        (Limits(keep_bytes=99), False, None),
        (Limits(keep_bytes=100), True, None),
        (Limits(keep_days=6), True, "kept for long enough, and read by all"),
        (Limits(keep_days=8), True, None),
        (Limits(limit_bytes=99), True, "beyond the limit"),
        (Limits(limit_bytes=99), False, "beyond the limit, and not read by all"),
        (Limits(limit_days=6), False, "beyond the limit, and not read by all"),
        (Limits(keep_days=1, limit_days=8), False, None),
    ],
)
def test_what_is_due(limits: Limits, read: bool, reason: str | None) -> None:
    assert limits.reason(100, timedelta(days=7), read=read) == reason


async def test_the_oldest_go_until_the_rest_is_small_enough(log: AuditLog, key: SigningKey) -> None:
    before = segments(log.path)
    await Retention(log, key, Limits(limit_bytes=KEPT_BYTES), lambda: 0).step()
    after = segments(log.path)
    assert size_bytes(log.path) <= KEPT_BYTES
    assert after == before[-len(after) :]
    assert len(tombstones(log.path)) == len(before) - len(after) > 1


async def test_the_last_one_stays(log: AuditLog, key: SigningKey) -> None:
    await Retention(log, key, Limits(limit_bytes=1), lambda: 0).step()
    (last,) = segments(log.path)
    await record(log, key, EVENTS)
    assert verify(log.path, key.verifier).problems == []
    assert last in segments(log.path)


async def test_what_an_exporter_has_not_read_waits_for_it(log: AuditLog, key: SigningKey) -> None:
    second, third = segments(log.path)[1:3]
    retention = Retention(log, key, Limits(keep_bytes=1), lambda: third.first - 2)
    await retention.step()
    assert segments(log.path)[0] == second
    retention._read_up_to = lambda: third.first - 1
    await retention.step()
    assert segments(log.path)[0] == third


async def test_each_is_told_of_by_an_event(log: AuditLog, key: SigningKey) -> None:
    gone = segments(log.path)[:2]
    kept_bytes = size_bytes(log.path) - sum(segment.path.stat().st_size for segment in gone)
    limit_bytes = kept_bytes + SEGMENT_BYTES // 2  # for the events that tell of them
    deleted: list[Path] = []
    retention = Retention(log, key, Limits(limit_bytes=limit_bytes), lambda: 0)
    retention.on_delete = deleted.append
    await retention.step()
    events = await told(log)
    assert deleted == [segment.path for segment in gone]
    assert [event.details["first"] for event in events] == [segment.first for segment in gone]
    assert events[0].details["last"] == gone[1].first - 1
    assert events[0].details["reason"] == "beyond the limit, and not read by all"


def test_the_gap_is_no_problem_and_the_rest_is_whole(retired: Path, key: SigningKey) -> None:
    found = verify(retired, key.verifier)
    assert found.problems == []
    assert found.retired == segments(retired)[0].first - 1 > 0
    assert found.lines == found.retired + len(list(all_lines(retired)))


def test_every_older_checkpoint_can_still_be_compared(retired: Path, original: Path, key: SigningKey) -> None:
    lines = map(json.loads, all_lines(original / "audit.jsonl"))
    notes = [
        line["details"]["checkpoint"] for line in lines if line["event_type"] == EventType.AUDIT_CHECKPOINT
    ]
    assert len(notes) == EVENTS // EVERY
    assert verify(retired, key.verifier, notes).problems == []
    for note in notes:
        forged = key.sign(key.verifier.open(note).size, bytes(32))
        assert "not those of a checkpoint" in verify(retired, key.verifier, [forged]).problems[0]


def test_a_checkpoint_that_was_never_signed_is_found(retired: Path, key: SigningKey) -> None:
    problems = verify(retired, key.verifier, [key.sign(2, bytes(32))]).problems
    assert problems == ["a checkpoint of 2 lines is none of those that the tombstones tell of"]


def test_what_is_left_can_be_proved(retired: Path, key: SigningKey) -> None:
    line = next(all_lines(retired))
    proof = prove(retired, key.verifier, seq_of(line))
    nodes = [bytes.fromhex(node) for node in proof["proof"]]
    root = root_from_proof(leaf_hash(line), proof["index"], proof["size"], nodes)
    assert root == key.verifier.open(proof["checkpoint"]).root
    with pytest.raises(AuditError, match="event 1 is not in"):
        prove(retired, key.verifier, 1)


async def test_after_a_restart_it_goes_on(retired: Path, key: SigningKey) -> None:
    for _ in range(2):
        log = AuditLog(retired, SEGMENT_BYTES)
        await record(log, key, EVENTS)
        await Retention(log, key, Limits(limit_bytes=SEGMENT_BYTES), lambda: 0).step()
        await log.checkpoint(key)
        log.close()
        assert verify(retired, key.verifier).problems == []
    assert len(segments(retired)) <= 2


@pytest.mark.parametrize("point", ["_write", "_tell", "_delete"])
async def test_a_crash_in_between_loses_nothing(
    log: AuditLog, key: SigningKey, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def crash(*_: object) -> None:
        raise OSError(5, "crashed")

    limits = Limits(limit_bytes=KEPT_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(retaining if point == "_write" else Retention, point, crash)
        with pytest.raises(OSError, match="crashed"):
            await Retention(log, key, limits, lambda: 0).step()
    await log.checkpoint(key)
    assert (verify(log.path, key.verifier).problems, verify(log.path, key.verifier).retired) == ([], 0)
    await Retention(log, key, limits, lambda: 0).step()
    await log.checkpoint(key)
    found = verify(log.path, key.verifier)
    assert found.problems == []
    assert found.retired > 0


async def test_what_was_tampered_with_is_kept_and_told_of_once(log: AuditLog, key: SigningKey) -> None:
    first = segments(log.path)[0].path
    first.write_bytes(first.read_bytes().replace(b"allowed", b"refused", 1))
    retention = Retention(log, key, Limits(limit_bytes=1), lambda: 0)
    with pytest.raises(AuditError, match="not what was signed, so it is not deleted"):
        await retention.step()
    await retention.step()
    assert first.exists()
    assert [event.action for event in await told(log)] == ["refused"]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff", b"[" * 100_000, b'{"timestamp":7}', b'{"timestamp":"2020-01-01"}']
)
async def test_a_segment_without_an_end_stays(log: AuditLog, key: SigningKey, line: bytes) -> None:
    first = segments(log.path)[0].path
    first.write_bytes(first.read_bytes() + line + b"\n")
    with pytest.raises(AuditError):
        await Retention(log, key, Limits(limit_days=1), lambda: 0).step()
    assert first.exists()
    assert verify(log.path, key.verifier).problems != []


def missing(log: Path) -> None:
    tombstones(log)[0].unlink()


def without_the_last(log: Path) -> None:
    tombstones(log)[-1].unlink()


def exchanged(log: Path) -> None:
    first, second, *_ = tombstones(log)
    text = first.read_text()
    first.write_text(second.read_text())
    second.write_text(text)


def of_another_key(log: Path) -> None:
    path = tombstones(log)[0]
    text = path.read_text().partition("\n")[2].partition("\n")[0]
    path.write_text(signing_key(log.parent / "other").sign_text(text, "tombstone"))


def edited(log: Path) -> None:
    path = tombstones(log)[0]
    path.write_text(path.read_text().replace("beyond the limit", "nothing to see"))


def garbage(log: Path) -> None:
    tombstones(log)[0].write_bytes(b"\xff{")


def of_a_giant(log: Path) -> None:
    path = tombstones(log)[0]
    path.write_text(path.read_text().replace('"subtrees":[[', '"subtrees":[[4000000000'))


def made_up(log: Path) -> None:
    """A segment is deleted, and an old tombstone put in its place."""
    first = segments(log)[0]
    first.path.unlink()
    shutil.copy(tombstones(log)[0], tombstone_path(log, first.first))


def first_segment_deleted(log: Path) -> None:
    segments(log)[0].path.unlink()


@pytest.mark.parametrize(
    "change",
    [
        missing,
        without_the_last,
        exchanged,
        of_another_key,
        edited,
        garbage,
        of_a_giant,
        made_up,
        first_segment_deleted,
    ],
)
def test_a_forged_or_missing_tombstone_is_found(
    retired: Path, key: SigningKey, change: Callable[[Path], None]
) -> None:
    change(retired)
    assert verify(retired, key.verifier).problems != []


def test_another_one_than_the_log_tells_of_is_found(retired: Path, key: SigningKey) -> None:
    """Signed with the key that was stolen: the event has its digest, and left the host."""
    path = tombstones(retired)[0]
    text = path.read_text().partition("\n")[2].partition("\n")[0]
    path.write_text(key.sign_text(text.replace("beyond the limit", "by my own choice"), "tombstone"))
    assert verify(retired, key.verifier).problems == [
        f"{path}: not the one that an event of the log tells of"
    ]


@pytest.mark.parametrize("change", [garbage, of_a_giant])
def test_a_daemon_does_not_go_on_from_a_broken_tombstone(
    retired: Path, change: Callable[[Path], None]
) -> None:
    for segment in segments(retired)[:-1]:
        segment.path.unlink()
    change(retired)
    tombstones(retired)[0].replace(tombstones(retired)[-1])
    for _ in range(2):
        with pytest.raises(AuditError, match=r"\.tombstone: no tombstone: restore"):
            AuditLog(retired, SEGMENT_BYTES)


@pytest.fixture
async def almost_all_retired(whole: Path, key: SigningKey) -> Path:
    """Down to its last segment, behind several tombstones."""
    log = AuditLog(whole, SEGMENT_BYTES)
    await Retention(log, key, Limits(limit_bytes=1), lambda: 0).step()
    await log.checkpoint(key)
    log.close()
    assert (len(segments(log.path)), len(tombstones(log.path)) > 2) == (1, True)
    return log.path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tombstones that are read from now on."""
    found: list[Path] = []
    original = tombstone.read

    def noted(path: Path, verifier: Verifier | None = None) -> tombstone.Tombstone:
        found.append(path)
        return original(path, verifier)

    monkeypatch.setattr(tombstone, "read", noted)
    return found


async def test_of_thousands_of_tombstones_a_start_reads_the_last_one(
    almost_all_retired: Path, key: SigningKey, read: list[Path]
) -> None:
    *_, last = tombstones(almost_all_retired)
    log = AuditLog(almost_all_retired, SEGMENT_BYTES)
    assert read == [last]
    await record(log, key, EVENTS)
    await Retention(log, key, Limits(limit_bytes=1), lambda: 0).step()
    assert read == [last, last]
    await log.checkpoint(key)
    log.close()
    assert verify(almost_all_retired, key.verifier).problems == []


def _signed_anew(path: Path, key: SigningKey, **changed: Any) -> None:
    fields = json.loads(path.read_text().splitlines()[1]) | changed
    path.write_text(key.sign_text(json.dumps(fields), "tombstone"))


def test_tombstones_without_peaks_are_read_from_the_first_one_on(
    almost_all_retired: Path, key: SigningKey
) -> None:
    tree = tree_of(almost_all_retired)
    for path in tombstones(almost_all_retired):
        _signed_anew(path, key, peaks=[])
    assert (tree_of(almost_all_retired).size, tree_of(almost_all_retired).root()) == (tree.size, tree.root())


def test_peaks_of_another_tree_are_found(almost_all_retired: Path, key: SigningKey) -> None:
    *_, last = tombstones(almost_all_retired)
    _signed_anew(last, key, peaks=["00" * 32])
    assert "its peaks do not make its root" in verify(almost_all_retired, key.verifier).problems


def test_verify_says_what_was_retired(retired: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/audit").symlink_to(tmp_path)
    done = CliRunner().invoke(main, ["audit", "--state-dir", str(tmp_path / "state"), "verify"])
    assert done.exit_code == 0
    assert "of them were deleted by retention; their tombstones fit" in done.output

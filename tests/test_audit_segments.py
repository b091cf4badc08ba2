"""A log of several segments is one log: for who reads it, who follows it, and who tampers with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.audit import opening
from daemon.audit.evidence import prove
from daemon.audit.key import SigningKey, signing_key
from daemon.audit.log import HEAD, AuditLog
from daemon.audit.opening import tree_of
from daemon.audit.proofs import root_from_proof
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.segments import all_lines, prepared_path, segment_path, segments, seq_of
from daemon.audit.tree import Tree, leaf_hash
from daemon.audit.verify import verify
from daemon.cli import main
from daemon.findings import Severity

SEGMENT_BYTES = 4096
EVENTS, EVERY = 65, 5
LINES = EVENTS + EVENTS // EVERY


def event(number: int) -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id="s",
        event_type=EventType.EXECUTION_STARTED,
        severity=Severity.LOW,
        action="allowed",
        details={"number": number},
    )


async def record(log: AuditLog, key: SigningKey, events: int = EVENTS) -> None:
    for number in range(1, events + 1):
        await log.record(event(number))
        if number % EVERY == 0:
            await log.checkpoint(key)


async def written(path: Path, key: SigningKey, events: int = EVENTS) -> Path:
    log = AuditLog(path, SEGMENT_BYTES)
    await record(log, key, events)
    log.close()
    assert len(segments(path)) > 3
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    asyncio.run(written(folder / "audit.jsonl", signing_key(folder)))
    return folder


@pytest.fixture
def key(tmp_path: Path, original: Path) -> SigningKey:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return signing_key(tmp_path)


@pytest.fixture
def log(tmp_path: Path, key: SigningKey) -> Path:
    return tmp_path / "audit.jsonl"


def seqs(log: Path) -> list[int]:
    return [seq_of(line) for line in all_lines(log)]


def test_all_events_are_there_in_their_order_and_verify(log: Path, key: SigningKey) -> None:
    assert seqs(log) == list(range(1, LINES + 1))
    found = verify(log, key.verifier)
    assert (found.problems, found.lines, found.checkpoints) == ([], LINES, EVENTS // EVERY)


def test_each_segment_is_named_by_its_first_event_and_sealed_by_its_last(log: Path) -> None:
    *sealed, _ = segments(log)
    for segment in sealed:
        first, *_, last = segment.path.read_bytes().splitlines()
        assert segment.path == segment_path(log, seq_of(first))
        assert b'"peaks":[' in last
        assert segment.path.stat().st_size >= SEGMENT_BYTES


async def test_the_next_one_has_its_room_before_it_is_needed(tmp_path: Path, key: SigningKey) -> None:
    log = AuditLog(tmp_path / "log", SEGMENT_BYTES)
    assert prepared_path(log.path).stat().st_blocks * 512 >= SEGMENT_BYTES
    assert log.path.stat().st_blocks * 512 >= SEGMENT_BYTES
    await record(log, key)
    assert prepared_path(log.path).stat().st_size == 0
    log.close()


async def test_a_log_of_one_file_is_taken_up_as_the_first_segment(tmp_path: Path, key: SigningKey) -> None:
    log = AuditLog(tmp_path / "log")
    await record(log, key)
    log.close()
    assert [segment.path for segment in segments(log.path)] == [log.path]
    again = AuditLog(tmp_path / "log", SEGMENT_BYTES)
    await record(again, key)
    again.close()
    assert len(segments(log.path)) > 3
    assert seqs(log.path) == list(range(1, 2 * LINES + 1))
    assert verify(log.path, key.verifier).problems == []


async def test_after_a_restart_numbers_and_tree_go_on(
    log: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only the last segment is read for it."""
    read: list[Path] = []
    monkeypatch.setattr(opening, "lines", lambda path: read.append(path) or path.read_bytes().splitlines())
    again = AuditLog(log, SEGMENT_BYTES)
    assert read == [segments(log)[-1].path]
    await record(again, key)
    again.close()
    assert verify(log, key.verifier).problems == []
    tree = Tree()
    for line in all_lines(log):
        tree.append(line)
    assert tree_of(log).root() == tree.root()


async def test_readers_cross_from_segment_to_segment(log: Path) -> None:
    again = AuditLog(log, SEGMENT_BYTES)
    for batch in (1, 7, 1000):
        found: list[int] = []
        while some := await again.read(found[-1] if found else 0, batch):
            found += [one.seq for one in some]
        assert found == list(range(1, LINES + 1))
    assert [one.seq for one in await again.read(LINES - 2, 10)] == [LINES - 1, LINES]
    segments(log)[0].path.unlink()
    assert (await again.read(0, 1))[0].seq == segments(log)[0].first
    again.close()


async def test_a_follower_hears_of_every_segment(tmp_path: Path, key: SigningKey) -> None:
    log = AuditLog(tmp_path / "log", SEGMENT_BYTES)
    begun: list[Path] = []
    log.on_segment = begun.append
    await record(log, key)
    assert [one.seq for one in log.since(0)] == list(range(1, LINES + 1))
    assert begun == [segment.path for segment in segments(log.path)[1:]]
    log.close()


@pytest.mark.parametrize("left", [b"", b'{"se', b'{"seq":79,"id":"'])
async def test_a_crash_right_after_a_new_segment_was_begun(log: Path, key: SigningKey, left: bytes) -> None:
    segment_path(log, LINES + 1).write_bytes(left)
    again = AuditLog(log, SEGMENT_BYTES)
    assert again.torn_bytes == len(left)
    await record(again, key)
    again.close()
    assert verify(log, key.verifier).problems == []
    assert seqs(log) == list(range(1, 2 * LINES + 1))


async def test_a_writing_process_that_dies_while_a_segment_begins(tmp_path: Path, key: SigningKey) -> None:
    log = AuditLog(tmp_path / "log", SEGMENT_BYTES)
    for number in range(100):
        if number % 20 == 19:
            os.kill(log._appending.pid, signal.SIGKILL)
        await log.record(event(number))
        await log.checkpoint(key)
    log.close()
    assert seqs(log.path) == list(range(1, 201))
    assert verify(log.path, key.verifier).problems == []


@pytest.mark.root
async def test_where_no_segment_can_begin_the_old_one_grows_on(tmp_path: Path, key: SigningKey) -> None:
    log = AuditLog(tmp_path / "log", SEGMENT_BYTES)
    prepared_path(log.path).unlink()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:  # the folder is another one now, in which the old segment does not lie
        log._full = lambda: True
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        await record(log, key, 10)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    log.close()
    assert segments(log.path)[0].path == log.path
    assert seqs(log.path) == list(range(1, 13))
    assert verify(log.path, key.verifier).checkpoints == 2


@pytest.mark.parametrize("seq", [1, 30, 65])
def test_an_event_of_any_segment_is_proved(log: Path, key: SigningKey, seq: int) -> None:
    proof = prove(log, key.verifier, seq)
    line = list(all_lines(log))[seq - 1]
    nodes = [bytes.fromhex(node) for node in proof["proof"]]
    root = root_from_proof(leaf_hash(line), proof["index"], proof["size"], nodes)
    assert root == key.verifier.open(proof["checkpoint"]).root


def edited(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes().replace(b"allowed", b"refused", 1))


def line_deleted(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes().partition(b"\n")[2])


def first_deleted(parts: list[Path]) -> None:
    parts[0].unlink()


def deleted(parts: list[Path]) -> None:
    parts[1].unlink()


def last_deleted(parts: list[Path]) -> None:
    parts[-1].unlink()


def closed_up(parts: list[Path]) -> None:
    """Deleted, and the next one has its name."""
    parts[2].rename(parts[1])


def swapped(parts: list[Path]) -> None:
    parts[0].rename(parts[0].with_name("away"))
    parts[1].rename(parts[0])
    parts[0].with_name("away").rename(parts[1])


def tail_cut(parts: list[Path]) -> None:
    parts[-1].write_bytes(b"".join(parts[-1].read_bytes().splitlines(keepends=True)[:-2]))


def sealed_tail_cut(parts: list[Path]) -> None:
    parts[1].write_bytes(b"".join(parts[1].read_bytes().splitlines(keepends=True)[:-1]))


def moved_line(parts: list[Path]) -> None:
    """From the beginning of one segment to the end of the one before: each line is there, and in order."""
    first, newline, rest = parts[1].read_bytes().partition(b"\n")
    parts[0].write_bytes(parts[0].read_bytes() + first + newline)
    parts[1].write_bytes(rest)


def forged(parts: list[Path]) -> None:
    """A segment that was never written."""
    parts[1].with_name("audit-0000000000000003.jsonl").write_bytes(parts[1].read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        edited,
        line_deleted,
        first_deleted,
        deleted,
        last_deleted,
        closed_up,
        swapped,
        tail_cut,
        sealed_tail_cut,
        moved_line,
        forged,
    ],
)
def test_tampering_is_found(log: Path, key: SigningKey, change: Callable[[list[Path]], None]) -> None:
    change([segment.path for segment in segments(log)])
    assert verify(log, key.verifier).problems != []


def test_what_a_deleted_segment_held_is_said(log: Path, key: SigningKey) -> None:
    gone, after = segments(log)[1:3]
    gone.path.unlink()
    missing = f"events {gone.first} to {after.first - 1} are missing"
    found = verify(log, key.verifier)
    assert found.problems[0] == f"{missing}: there is neither their segment nor its tombstone"


async def test_an_older_state_of_all_files_is_found_by_a_checkpoint_from_elsewhere(
    log: Path, key: SigningKey, tmp_path: Path
) -> None:
    kept = log.with_name(HEAD).read_text()
    (tmp_path / "old").mkdir()
    old = await written(tmp_path / "old/audit.jsonl", key, EVENTS - EVERY)
    assert verify(old, key.verifier).problems == []
    assert "cut off" in verify(old, key.verifier, [kept]).problems[0]
    other = await written(tmp_path / "old/other.jsonl", key, 2 * EVENTS)
    assert "not those of a checkpoint that was kept" in verify(other, key.verifier, [kept]).problems[0]
    assert verify(log, key.verifier, [kept]).problems == []


@pytest.mark.parametrize(
    ("line", "seq"),
    [
        (b'{"seq":12,"id":"a"}', 12),
        (b'{"seq":12', 0),
        (b'{"seq":' + b"1" * 5000 + b",", 0),
        (b'{"seq":-1,', 0),
        (b'{"seq":,', 0),
        (b"", 0),
        (b'{"id":12,"seq":12,', 0),
    ],
)
def test_the_number_of_a_line(line: bytes, seq: int) -> None:
    assert seq_of(line) == seq


def test_query_reads_all_segments(log: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/audit").symlink_to(log.parent)
    done = CliRunner().invoke(main, ["audit", "--state-dir", str(tmp_path / "state"), "query"])
    assert len(done.output.splitlines()) == LINES

"""The audit log: whole lines whatever the disk does, and numbers that go on after a crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.audit import log as audit_log
from daemon.audit.key import signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import AuditError
from daemon.findings import Severity
from tests.benchmarks import audit_kills

SIZE_KIB = 64


def event(text: str = "") -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id="s",
        event_type=EventType.DAEMON_STARTED,
        severity=Severity.LOW,
        action="recorded",
        details={"text": text},
    )


def lines(path: Path) -> list[Any]:
    """Raises where one is no JSON."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(1024))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_events_at_once_are_numbered_in_their_order(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log")
    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(log.record(event(str(number))))
    assert [line["seq"] for line in lines(log.path)] == list(range(1, 201))
    assert [e.seq for e in log.since(0)] == list(range(1, 201))
    log.close()


async def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        log = AuditLog(tmp_path / "log")
        await log.record(event())
        log.close()
    assert [line["seq"] for line in lines(tmp_path / "log")] == [1, 2]


async def test_what_json_cannot_hold_is_recorded_all_the_same(tmp_path: Path) -> None:
    """A file's name may be any bytes, and a plug-in's detail any object."""
    log = AuditLog(tmp_path / "audit.jsonl")
    path, nested = os.fsdecode(b"/tmp/\xff"), {b"\xff": [object, {"\ud800"}, (1.5, None)]}
    first = await log.record(event().model_copy(update={"details": {"path": path, "nested": nested}}))
    await log.record(event())
    assert first.details["path"] == r"/tmp/\udcff"
    found = await log.read(0, 10)
    assert [e.seq for e in found] == [1, 2]
    assert found[0].details == first.details
    assert found[0].details["nested"] == {r"b'\xff'": ["<class 'object'>", [r"\ud800"], [1.5, None]]}
    log.close()


async def test_a_line_that_a_crash_tore_spoils_no_other(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log")
    await log.record(event())
    log.close()
    with log.path.open("ab") as file:
        file.write(b'{"seq": 2, "id": "torn')
    for expected in (2, 3):
        log = AuditLog(tmp_path / "log")
        assert (await log.record(event())).seq == expected
        log.close()
    whole = [line for line in log.path.read_bytes().splitlines() if not line.endswith(b"torn")]
    assert [json.loads(line)["seq"] for line in whole] == [1, 2, 3]


async def test_it_has_one_writer(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log")
    with pytest.raises(AuditError, match="another daemon writes it"):
        AuditLog(tmp_path / "log")
    await log.record(event())
    log.close()
    AuditLog(tmp_path / "log").close()


def test_what_is_no_audit_log_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("something else\n")
    with pytest.raises(AuditError, match="ends with no audit event"):
        AuditLog(tmp_path / "log")


@pytest.mark.root
async def test_a_full_disk_is_an_error_and_leaves_only_whole_lines(small_disk: Path) -> None:
    log = AuditLog(small_disk / "log")
    written = 0
    with pytest.raises(AuditError, match="No space left on device"):  # noqa: PT012  # it is the last one of many
        while True:
            await log.record(event("x" * 5000))
            written += 1
    assert len(lines(log.path)) == written > 5
    assert [e.seq for e in log.since(0)] == list(range(1, written + 1))
    log.close()


@pytest.mark.root
async def test_with_room_again_nothing_is_missing(small_disk: Path) -> None:
    log = AuditLog(small_disk / "log")
    await log.record(event())
    fill(small_disk)
    for _ in range(3):
        with pytest.raises(AuditError):
            await log.record(event("x" * 5000))
    (small_disk / "ballast").unlink()
    await log.record(event())
    assert [line["seq"] for line in lines(log.path)] == [1, 2, 3, 4, 5]
    log.close()


@pytest.mark.root
async def test_what_waits_for_room_is_bounded(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "WAITING_LIMIT_BYTES", 20_000)
    log = AuditLog(small_disk / "log")
    fill(small_disk)
    for _ in range(20):
        with pytest.raises(AuditError):
            await log.record(event("x" * 5000))
    (small_disk / "ballast").unlink()
    await log.record(event())
    kept = [line["seq"] for line in lines(log.path)]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) < 10
    log.close()


async def test_when_its_writing_process_is_killed_nothing_is_lost_or_written_twice(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path / "log")
    for number in range(20):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(log.record(event(str(number))))
            if number % 4 == 1:
                os.kill(log._appending.pid, signal.SIGKILL)
    log.close()
    assert [line["seq"] for line in lines(tmp_path / "log")] == list(range(1, 101))


async def test_who_follows_hears_of_all_in_their_order(tmp_path: Path) -> None:
    log, key, heard = AuditLog(tmp_path / "log"), signing_key(tmp_path), list[int]()

    async def follow() -> None:
        async for one in log.follow(0):
            heard.append(one.seq)

    async def write() -> None:
        for _ in range(40):
            await log.record(event())

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        async with asyncio.TaskGroup() as writing:
            for _ in range(8):
                writing.create_task(write())
            for _ in range(20):
                await log.checkpoint(key)
                await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        following.cancel()
    assert heard == list(range(1, log.newest + 1))
    log.close()


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_who_goes_away_leaves_the_log_whole(tmp_path: Path, turns: int) -> None:
    log = AuditLog(tmp_path / "log")
    await log.record(event())
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(log.record(event("gone")))
        for _ in range(turns):
            await asyncio.sleep(0)
        gone.cancel()
    await log.record(event())
    log.close()
    seqs = [line["seq"] for line in lines(log.path)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_what_was_said_to_be_durable_outlives_the_daemon(tmp_path: Path) -> None:
    """A few of the kills of `python -m tests.benchmarks.audit_kills`."""
    found = audit_kills.campaign(tmp_path, 8)
    assert found["acknowledged"] > 0
    assert (found["missing"], found["twice"], found["problems"]) == (0, 0, [])

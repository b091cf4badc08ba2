"""A full disk: the last events are written on the reserve, and nobody takes that for room."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from daemon.audit.key import SigningKey, signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType
from daemon.audit.retention import Limits, Retention
from daemon.audit.segments import all_lines, prepared_path, reserve_path, segments
from daemon.audit.verify import verify
from daemon.errors import AuditError
from tests.test_audit_log import event, fill, lines

pytestmark = pytest.mark.root

SEGMENT_BYTES, RESERVE_BYTES = 32 << 10, 64 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
async def log(disk: Path) -> AsyncIterator[AuditLog]:
    opened = AuditLog(disk / "log", SEGMENT_BYTES, RESERVE_BYTES)
    yield opened
    opened.close()


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return signing_key(tmp_path)


async def fill_up(log: AuditLog) -> str:
    """What it says when the disk is full."""
    fill(log.path.parent)
    with pytest.raises(AuditError) as raised:  # noqa: PT012 - it is the last one of many
        while True:
            await log.record(event("x" * 5000))
    return str(raised.value)


def types(log: AuditLog) -> list[str]:
    return [line["event_type"] for line in lines(log.path)]


async def test_what_is_allocated_is_written_whoever_fills_the_disk(log: AuditLog, key: SigningKey) -> None:
    fill(log.path.parent)
    while len(segments(log.path)) == 1:
        await log.record(event("x" * 1000))
        await log.checkpoint(key)
    await log.record(event("x" * 20_000))
    assert reserve_path(log.path).exists()


async def test_the_last_events_are_written_and_that_the_disk_is_full(log: AuditLog) -> None:
    assert reserve_path(log.path).stat().st_blocks * 512 >= RESERVE_BYTES
    reason = await fill_up(log)
    assert "No space left on device: it was written on the last reserve; free space" in reason
    assert not reserve_path(log.path).exists()
    assert types(log)[-2:] == [EventType.DAEMON_STARTED, EventType.AUDIT_FAILED]
    assert lines(log.path)[-1]["details"] == {"reason": "No space left on device"}
    for number in range(5):
        with pytest.raises(AuditError, match="reserve"):  # an end goes on without; a launch does not
            await log.record(event(str(number)))
    assert [line["details"]["text"] for line in lines(log.path)[-5:]] == list("01234")
    assert [e.seq for e in log.since(0)] == [line["seq"] for line in lines(log.path)]


async def test_it_is_sealed_on_the_reserve_too(log: AuditLog, key: SigningKey) -> None:
    await log.checkpoint(key)
    await fill_up(log)
    await log.checkpoint(key)
    last = list(all_lines(log.path))[-1]
    assert b"AUDIT_CHECKPOINT" in last
    (log.path.parent / "ballast").unlink()
    await log.record(event())
    await log.checkpoint(key)
    assert verify(log.path, key.verifier).problems == []


async def test_with_room_again_there_is_a_reserve_again(log: AuditLog) -> None:
    await fill_up(log)
    (log.path.parent / "ballast").unlink()
    await log.record(event("after"))
    assert types(log)[-2:] == [EventType.AUDIT_RECOVERED, EventType.DAEMON_STARTED]
    assert reserve_path(log.path).stat().st_blocks * 512 >= RESERVE_BYTES
    await fill_up(log)
    assert types(log).count(EventType.AUDIT_FAILED) == 2


async def test_beyond_the_reserve_nothing_is_lost_that_can_wait(log: AuditLog) -> None:
    await fill_up(log)
    for _ in range(30):
        with pytest.raises(AuditError):
            await log.record(event("x" * 5000))
    assert log.newest > lines(log.path)[-1]["seq"]
    (log.path.parent / "ballast").unlink()
    await log.record(event())
    assert [line["seq"] for line in lines(log.path)] == list(range(1, log.newest + 1))


async def test_retention_makes_room_on_a_full_disk(log: AuditLog, key: SigningKey) -> None:
    for _ in range(80):
        await log.record(event("x" * 1000))
        await log.checkpoint(key)
    assert len(segments(log.path)) > 3
    await fill_up(log)
    await Retention(log, key, Limits(limit_bytes=SEGMENT_BYTES), lambda: 0).step()
    await log.record(event())
    await log.checkpoint(key)
    assert reserve_path(log.path).exists()
    assert len(segments(log.path)) <= 2
    assert verify(log.path, key.verifier).problems == []


async def test_a_tolerant_log_goes_on(log: AuditLog) -> None:
    told: list[AuditError] = []
    log.tolerant, log.on_failure = True, told.append
    fill(log.path.parent)
    for _ in range(20):
        await log.record(event("x" * 5000))
    assert told != []
    assert EventType.AUDIT_FAILED in types(log)


async def test_a_disk_without_room_for_one_is_used_without(disk: Path) -> None:
    log = AuditLog(disk / "log", SEGMENT_BYTES, 1 << 20)
    assert not reserve_path(log.path).exists()
    assert prepared_path(log.path).exists()
    reason = await fill_up(log)
    assert "cannot be written: No space left on device" in reason
    assert EventType.AUDIT_FAILED not in types(log)
    log.close()


async def test_many_at_once_on_a_full_disk(log: AuditLog) -> None:
    fill(log.path.parent)
    async with asyncio.TaskGroup() as tasks:
        results = [tasks.create_task(outcome(log)) for _ in range(100)]
    assert False in {result.result() for result in results}
    kept = [line["seq"] for line in lines(log.path)]
    assert kept == list(range(1, len(kept) + 1))
    assert types(log).count(EventType.AUDIT_FAILED) == 1


async def outcome(log: AuditLog) -> bool:
    try:
        await log.record(event("x" * 500))
    except AuditError:
        return False
    return True

"""A file of lines: how it is rotated, and what a write leaves that was cut short."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ExportError
from tests.exporters.running import event, made, whole_lines

DAY_S = 86_400


async def written(folder: Path, *numbers: int, **options: Any) -> None:
    """By a daemon that starts, writes a batch for each number and ends."""
    async with made("file", 0, folder, **options) as exporter:
        for number in numbers:
            await exporter.export([event(number, text="x" * 3000)])


def numbers(file: Path) -> list[int]:
    return [json.loads(line)["details"]["number"] for line in whole_lines(file)]


def files(folder: Path) -> dict[str, list[int]]:
    return {path.name: numbers(path) for path in folder.glob("events.jsonl*")}


async def test_a_file_that_is_full_makes_room_and_the_oldest_goes(tmp_path: Path) -> None:
    await written(tmp_path, *range(6), rotate_bytes=4096, kept=3)
    kept = {f"events.jsonl.{number}": [5 - number] for number in (1, 2, 3)}
    assert files(tmp_path) == {"events.jsonl": [5], **kept}


async def test_one_that_is_kept_is_the_one_before(tmp_path: Path) -> None:
    await written(tmp_path, *range(3), rotate_bytes=4096, kept=1)
    assert files(tmp_path) == {"events.jsonl": [2], "events.jsonl.1": [1]}


async def test_a_batch_larger_than_a_file_is_one_file(tmp_path: Path) -> None:
    async with made("file", 0, tmp_path, rotate_bytes=4096) as exporter:
        for _ in range(2):
            await exporter.export([event(number, text="x" * 3000) for number in range(3)])
    assert files(tmp_path) == {"events.jsonl": [0, 1, 2], "events.jsonl.1": [0, 1, 2]}


@contextmanager
def time_passes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    now_s = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now_s() + seconds)
        yield


@pytest.mark.parametrize(("days", "in_it"), [(0.9, [0, 1]), (1.1, [1])])
async def test_the_age_of_a_file_is_that_of_its_first_line(
    days: float, in_it: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made("file", 0, tmp_path) as exporter:
        await exporter.export([event(0)])
        with time_passes(monkeypatch, days * DAY_S):
            await exporter.export([event(1)])
    assert numbers(tmp_path / "events.jsonl") == in_it


async def test_who_starts_again_knows_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it was written to just now, by the clock of the file system."""
    for number, days in enumerate((-1.6, -1.2, -0.8, -0.4, 0)):
        with time_passes(monkeypatch, days * DAY_S):
            await written(tmp_path, number)
    assert files(tmp_path) == {"events.jsonl": [3, 4], "events.jsonl.1": [0, 1, 2]}


async def test_a_file_that_somebody_else_has_moved_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made("file", 0, tmp_path) as exporter:
        await exporter.export([event(0)])
        (tmp_path / "events.jsonl").rename(tmp_path / "moved")
        with time_passes(monkeypatch, 0.9 * DAY_S):
            await exporter.export([event(1)])
        with time_passes(monkeypatch, 1.8 * DAY_S):
            await exporter.export([event(2)])
    assert files(tmp_path) == {"events.jsonl": [1, 2]}


@contextmanager
def room(size_bytes: int) -> Iterator[None]:
    """No file may become larger (EFBIG); Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_half_a_line_spoils_no_other(tmp_path: Path) -> None:
    file, sent = tmp_path / "events.jsonl", [event(number) for number in range(3)]
    async with made("file", 0, tmp_path) as exporter:
        await exporter.export(sent[:1])
        with room(file.stat().st_size + 100), pytest.raises(ExportError, match="File too large") as raised:
            await exporter.export(sent[1:])
        await exporter.export(sent[1:])
    assert raised.value.retryable
    first, half, *rest = whole_lines(file)
    assert [json.loads(line)["id"] for line in (first, *rest)] == [one.id for one in sent]
    assert len(half) == 100
    assert rest[0].startswith(half)


async def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was\n")
    (tmp_path / "events.jsonl").symlink_to(victim)
    async with made("file", 0, tmp_path) as exporter:
        with pytest.raises(ExportError, match="cannot be written"):
            await exporter.export([event()])
    assert victim.read_text() == "as it was\n"

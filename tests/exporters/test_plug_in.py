"""Exporters of other packages: found by entry point, and never in the way."""

from __future__ import annotations

from pathlib import Path

from daemon.delivery.deliveries import plug_ins
from tests.exporters import plug_in
from tests.exporters.running import delivering, event, record, until, whole_lines


async def test_a_plug_in_delivers_what_is_recorded(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    table = {"name": "mine", "kind": "memo", "path": str(lines), "minimum_severity": "high"}
    with plug_in.installed(tmp_path / "site"):
        async with delivering([table], tmp_path) as (audit, _):
            await record(audit, [event(number) for number in range(3)])
            await until(lambda: len(whole_lines(lines)) == 3)


async def test_one_that_cannot_be_loaded_stops_no_other(tmp_path: Path) -> None:
    broken = "broken = memo_exporter:NOT_THERE\nmissing = no_such_module:KIND\n"
    with plug_in.installed(tmp_path / "site", plug_in.ENTRY_POINTS + broken):
        assert set(plug_ins()) == {"memo"}


async def test_one_with_the_name_of_ours_does_not_replace_it(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    table = {"name": "mine", "kind": "file", "path": str(lines), "rotate_bytes": 4096}  # not a key of memo's
    entry_points = plug_in.ENTRY_POINTS.replace("memo =", "file =")
    with plug_in.installed(tmp_path / "site", entry_points):
        assert set(plug_ins()) == {"file"}
        async with delivering([table], tmp_path) as (audit, _):
            await record(audit, [event()])
            await until(lambda: len(whole_lines(lines)) == 1)

"""A package that brings an exporter of its own: the kind `memo`, which writes lines to a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULE = """
from pathlib import Path

from exporters import Kind, Options
from daemon.errors import ExportError


class MemoOptions(Options):
    path: Path


class Memo:
    def __init__(self, options, surroundings):
        self._path, self._encode = options.path, surroundings.encode

    async def export(self, batch):
        try:
            with open(self._path, "ab") as file:
                file.writelines(self._encode(event) + b"\\n" for event in batch)
        except OSError as error:
            raise ExportError(f"{self._path}: {error.strerror}") from error

    async def close(self):
        pass


MEMO = Kind(MemoOptions, Memo)
"""
ENTRY_POINTS = "[container_kit.exporters]\nmemo = memo_exporter:MEMO\n"


@contextmanager
def installed(site: Path, entry_points: str = ENTRY_POINTS) -> Iterator[None]:
    """In `site`, as pip lays a package out, and that on the path."""
    metadata = site / "memo_exporter-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "memo_exporter.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: memo-exporter\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield

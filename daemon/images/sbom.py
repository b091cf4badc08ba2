"""The bill of materials of an image, CycloneDX 1.6 as JSON, and the store of what was read of images.

What an image holds never changes, so it is read once: with a new database only the matching is done again.
"""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon import __version__
from daemon.images.contents import ImageContents

_ID = re.compile(r"sha256:[0-9a-f]{64}")


def cyclonedx(contents: ImageContents, made: datetime | None = None) -> dict[str, Any]:
    """https://cyclonedx.org/docs/1.6/json/"""
    time = (made or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tool = {"type": "application", "name": "container-kit", "version": __version__}
    root = {"type": "container", "bom-ref": contents.image_id, "name": contents.image_id}
    purls = sorted({package.purl(contents.os): package for package in contents.packages}.items())
    libraries = [
        {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}
        for purl, package in purls
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": time, "tools": {"components": [tool]}, "component": root},
        "components": [*_system(contents), *libraries],
        "compositions": [
            {"aggregate": "incomplete" if contents.unread else "unknown", "assemblies": [contents.image_id]}
        ],
    }


def _system(contents: ImageContents) -> list[dict[str, Any]]:
    if not contents.os.known:
        return []
    named = {"type": "operating-system", "bom-ref": "os", "name": contents.os.id}
    return [{**named, **({"version": contents.os.version_id} if contents.os.version_id else {})}]


class ContentsStore:
    """A folder with one file an image. What is damaged counts as not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, image_id: str) -> ImageContents | None:
        path = self._path(image_id)
        try:
            found = ImageContents.from_lines(path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.image_id == image_id else None

    def put(self, contents: ImageContents) -> None:
        path = self._path(contents.image_id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(contents.to_lines())
        os.replace(file.name, path)  # noqa: PTH105  the name is no Path

    def image_ids(self) -> set[str]:
        return {f"sha256:{path.stem}" for path in self._folder.glob("*.json")}

    def remove(self, image_id: str) -> None:
        self._path(image_id).unlink(missing_ok=True)

    def _path(self, image_id: str) -> Path:
        if not _ID.fullmatch(image_id):
            raise ValueError(f"{image_id!r} is no image id")
        return self._folder / f"{image_id.removeprefix('sha256:')}.json"

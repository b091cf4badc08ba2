"""Brings archives of advisories into the directory: all of them and a new index, or nothing."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from daemon.images.osv.index import INDEX, DatabaseError, Ecosystem, build

PUBLISHED = "https://osv-vulnerabilities.storage.googleapis.com"
ARCHIVE = "all.zip"
ARCHIVE_BYTES = 4 << 30
DEADLINE_S = 60.0
_CHUNK_BYTES = 1 << 20

Fetch = Callable[[Path], None]


def bring(directory: Path, sources: dict[str, Fetch]) -> list[Ecosystem]:
    """`sources` fetch the archive of an ecosystem to a path. Raises DatabaseError; the old ones then stay."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory, prefix=".new-") as name:
        new = Path(name)
        for ecosystem in {*_there(directory), *sources}:
            (new / ecosystem).mkdir()
            fetch = sources.get(ecosystem)
            if fetch:
                fetch(new / ecosystem / ARCHIVE)
            else:
                os.link(directory / ecosystem / ARCHIVE, new / ecosystem / ARCHIVE)
        found = build(new)
        for ecosystem in sources:
            (directory / ecosystem).mkdir(exist_ok=True)
            (new / ecosystem / ARCHIVE).replace(directory / ecosystem / ARCHIVE)
        (new / INDEX).replace(directory / INDEX)
    return found


def _there(directory: Path) -> list[str]:
    return [path.parent.name for path in directory.glob(f"*/{ARCHIVE}")]


def of_folder(folder: Path) -> dict[str, Fetch]:
    """Of <Ecosystem>/all.zip below it, also where osv-scanner keeps them. Raises DatabaseError for none."""
    places = (folder, folder / "osv-scalibr", folder / "osv-scanner")
    found = {path.parent.name: path for place in places for path in place.glob(f"*/{ARCHIVE}")}
    if not found:
        raise DatabaseError(
            f"{folder}: no <Ecosystem>/{ARCHIVE} in it: name the folder that holds the ecosystems"
        )
    return {name: _copying(path) for name, path in found.items()}


def _copying(source: Path) -> Fetch:
    def fetch(target: Path) -> None:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise DatabaseError(f"{source}: {error.strerror}") from error

    return fetch


def of_url(base: str, ecosystems: Iterable[str]) -> dict[str, Fetch]:
    """Raises DatabaseError for an address without TLS that leads off this host."""
    if not base.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise DatabaseError(f"{base}: advisories are fetched by https:// only")
    return {name: _downloading(f"{base.rstrip('/')}/{quote(name)}/{ARCHIVE}") for name in ecosystems}


def _downloading(url: str) -> Fetch:
    def fetch(target: Path) -> None:
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer, target.open("wb") as file:  # noqa: S310  checked
                size_bytes = 0
                while part := answer.read(_CHUNK_BYTES):
                    size_bytes += file.write(part)
                    if size_bytes > ARCHIVE_BYTES:
                        raise DatabaseError(f"{url}: over {ARCHIVE_BYTES} bytes")
        except (OSError, urllib.error.URLError, HTTPException) as error:
            raise DatabaseError(f"{url}: {error}: try again, or import archives from a folder") from error

    return fetch

"""The index of a directory of advisories: `<directory>/<Ecosystem>/all.zip`, as OSV publishes them.

One SQLite file beside them, written anew as a whole and put in place at once: a scan sees the old or the new.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = "1"
INDEX = "index.sqlite"
RECORD_BYTES = 16 << 20
ARCHIVE_BYTES = 16 << 30
_SCHEMA = """
CREATE TABLE meta (format TEXT);
CREATE TABLE ecosystem (name TEXT PRIMARY KEY, advisories INTEGER, modified TEXT, imported TEXT);
CREATE TABLE advisory (ecosystem TEXT, package TEXT, record TEXT);
"""


class DatabaseError(Exception):
    """Advisories that cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """One archive. `modified` is of its newest advisory: how old the knowledge is, however new the file."""

    name: str
    advisories: int
    modified: datetime
    imported: datetime


def build(directory: Path) -> list[Ecosystem]:
    """Of all archives in the directory. Raises DatabaseError, and then the old index stays."""
    archives = sorted(directory.glob("*/all.zip"))
    if not archives:
        raise DatabaseError(
            f"{directory}: no <Ecosystem>/all.zip in it: fetch them from OSV, or give another"
        )
    new = directory / f".{INDEX}.new"
    new.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(new)) as database:
            database.executescript(_SCHEMA)
            database.execute("INSERT INTO meta VALUES (?)", (FORMAT,))
            found = [_add(database, archive) for archive in archives]
            database.execute("CREATE INDEX by_package ON advisory (ecosystem, package)")
            database.commit()
        new.chmod(0o600)
        os.replace(new, directory / INDEX)  # noqa: PTH105  of two paths that are known to be on one file system
    finally:
        new.unlink(missing_ok=True)
    return found


def _add(database: sqlite3.Connection, archive: Path) -> Ecosystem:
    count, newest = 0, datetime.min.replace(tzinfo=UTC)
    for record in _records(archive):
        newest = max(newest, _time(record.get("modified")))
        count += 1
        if not record.get("withdrawn"):
            database.executemany("INSERT INTO advisory VALUES (?, ?, ?)", _rows(record))
    if not count:
        raise DatabaseError(f"{archive}: no advisories in it: fetch it again")
    imported = datetime.fromtimestamp(archive.stat().st_mtime, UTC)
    found = Ecosystem(archive.parent.name, count, newest, imported)
    row = (found.name, count, newest.isoformat(), imported.isoformat())
    database.execute("INSERT INTO ecosystem VALUES (?, ?, ?, ?)", row)
    return found


def _records(archive: Path) -> Iterator[dict[str, Any]]:
    try:
        with zipfile.ZipFile(archive) as packed:
            infos = packed.infolist()
            if sum(info.file_size for info in infos) > ARCHIVE_BYTES:
                raise DatabaseError(f"{archive}: over {ARCHIVE_BYTES} bytes when unpacked")
            for info in infos:
                if info.filename.endswith(".json") and info.file_size <= RECORD_BYTES:
                    yield _record(packed.read(info), archive)
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise DatabaseError(f"{archive}: cannot be read as a zip file: {error}: fetch it again") from error


def _record(content: bytes, archive: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DatabaseError(f"{archive}: broken JSON: {error}: fetch it again") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("id"), str):
        raise DatabaseError(f"{archive}: holds something else than OSV advisories: fetch it again")
    return parsed


def _time(text: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _rows(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """One for each package; what is common to them goes into each, what no scan needs into none."""
    common = {
        key: record[key] for key in ("id", "aliases", "upstream", "summary", "severity") if record.get(key)
    }
    for affected in record.get("affected") or ():
        package = affected.get("package") or {}
        if not package.get("ecosystem") or not package.get("name"):
            continue
        kept = {key: affected[key] for key in ("ranges", "versions") if affected.get(key)}
        if affected.get("severity"):
            kept["affected_severity"] = affected["severity"]
        named = _named_severity(record, affected)
        row = json.dumps({**common, **kept, **({"named_severity": named} if named else {})})
        yield package["ecosystem"], package["name"], row


def _named_severity(record: dict[str, Any], affected: dict[str, Any]) -> str:
    for place in (affected.get("ecosystem_specific"), record.get("database_specific")):
        if isinstance(place, dict) and isinstance(place.get("severity"), str):
            return str(place["severity"])
    return ""


class Index:
    """Open for reading. Raises DatabaseError where there is none, or of another format."""

    def __init__(self, directory: Path) -> None:
        path = directory / INDEX
        try:
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            written = self._database.execute("SELECT format FROM meta").fetchone()
        except sqlite3.Error as error:
            raise DatabaseError(f"{path}: {error}: run `container-kit images db import`") from error
        if written != (FORMAT,):
            raise DatabaseError(f"{path}: of another version: run `container-kit images db import`")

    def close(self) -> None:
        self._database.close()

    def ecosystems(self) -> list[Ecosystem]:
        rows = self._database.execute(
            "SELECT name, advisories, modified, imported FROM ecosystem ORDER BY name"
        )
        return [
            Ecosystem(name, count, _time(modified), _time(imported))
            for name, count, modified, imported in rows
        ]

    def advisories(self, ecosystem: str, package: str) -> list[dict[str, Any]]:
        query = "SELECT record FROM advisory WHERE ecosystem = ? AND package = ?"
        return [json.loads(row[0]) for row in self._database.execute(query, (ecosystem, package))]

    def some(self, ecosystem: str, count: int) -> list[dict[str, Any]]:
        query = "SELECT record FROM advisory WHERE ecosystem = ? LIMIT ?"
        return [json.loads(row[0]) for row in self._database.execute(query, (ecosystem, count))]

"""Fedora, RHEL and their kin: rpm's database, where it is of the SQLite kind (rpm 4.16 or newer)."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from daemon.images.packages.package import Kind, Package, Unreadable

MOST_BYTES = 256 << 20
_FOLDERS = ("var/lib/rpm/", "usr/lib/sysimage/rpm/")
_NAMES = ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db")
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE, _SOURCE = 1000, 1001, 1002, 1003, 1022, 1044
_INT32, _STRING = 4, 6
_HEADER_BYTES = 32 << 20
_GPG_KEY = "gpg-pubkey"


def wanted(path: str) -> bool:
    return path.startswith(_FOLDERS) and path.rpartition("/")[2] in _NAMES


def read(path: str, content: bytes) -> Iterator[Package]:
    if path.endswith("-wal"):
        if content:
            raise Unreadable(f"{path}: changes of the rpm database are still in its journal")
        return
    if not path.endswith(".sqlite"):
        raise Unreadable(
            f"{path} is an rpm database of an old kind (Berkeley DB or NDB), which is not read here"
        )
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(_without_journal(content))
            blobs = [row[0] for row in database.execute("SELECT blob FROM Packages")]
        found = [_package(_tags(blob)) for blob in blobs]
    except (sqlite3.Error, struct.error, ValueError, IndexError, TypeError) as error:
        raise Unreadable(f"{path} is damaged: {error}") from error
    yield from (package for package in found if package.name != _GPG_KEY)


def _without_journal(content: bytes) -> bytes:
    """sqlite.org/fileformat.html, 1.3: a database in memory cannot be in write-ahead mode (2): legacy (1)."""
    return content[:18] + b"\1\1" + content[20:]


def _tags(header: bytes) -> dict[int, str | int]:
    """rpm's header format: counts, an index of (tag, type, offset, count), then the data; all big-endian."""
    count, _ = struct.unpack_from(">II", header)
    if count * 16 > len(header) or len(header) > _HEADER_BYTES:
        raise ValueError("a header with a wrong length")
    data = header[8 + count * 16 :]
    found: dict[int, str | int] = {}
    for tag, kind, offset, _ in struct.iter_unpack(">IIII", header[8 : 8 + count * 16]):
        if kind == _STRING and tag in (_NAME, _VERSION, _RELEASE, _ARCHITECTURE, _SOURCE):
            found[tag] = data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")
        elif kind == _INT32 and tag == _EPOCH:
            found[tag] = int(struct.unpack_from(">I", data, offset)[0])
    return found


def _package(tags: dict[int, str | int]) -> Package:
    name, release = str(tags.get(_NAME, "")), f"{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
    version = f"{tags[_EPOCH]}:{release}" if tags.get(_EPOCH) else release
    source = str(tags.get(_SOURCE, "")).rsplit("-", 2)[0]
    return Package(Kind.RPM, name, version, source or name, version, str(tags.get(_ARCHITECTURE, "")))

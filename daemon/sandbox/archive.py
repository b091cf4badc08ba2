"""Tar streams into and out of a hostile directory tree, in bounded memory.

The standard library only decodes and encodes the 512-byte headers here: its reader keeps every entry, follows
headers that chain without end and allocates the size that a header claims.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from daemon.sandbox.beneath import (
    PathRefused,
    WorkspaceError,
    check_path,
    open_directory,
    open_entry,
    opened,
)

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 256 << 10
END = bytes(2 * BLOCK)

_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGLINK: "a link",
}
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)


class ArchiveRefused(WorkspaceError):
    """The archive is malformed, over a limit, or has a refused kind of entry; the message names the entry."""


class Readable(Protocol):
    def read(self, size_bytes: int, /) -> bytes:
        """At most that many bytes, fewer only if no more are there yet; empty at the end."""


@dataclass(frozen=True, slots=True)
class TarLimits:
    """Of one archive. `header_bytes` bounds all the headers that precede one entry."""

    entries: int = 10_000
    total_bytes: int = 1 << 30
    file_bytes: int = 1 << 30
    header_bytes: int = 16 << 10

    def check(self, path: str, *, entries: int, file_bytes: int, total_bytes: int) -> None:
        """Raises ArchiveRefused, which says that the entry `path` is where a limit was passed."""
        if entries > self.entries:
            raise ArchiveRefused(f"{path[:80]!r} is past the limit of {self.entries} entries: pack fewer")
        if file_bytes > self.file_bytes:
            raise ArchiveRefused(
                f"{path[:80]!r} has {file_bytes} bytes: the limit of a file is {self.file_bytes}"
            )
        if total_bytes > self.total_bytes:
            raise ArchiveRefused(
                f"{path[:80]!r} is past the limit of {self.total_bytes} bytes in all: pack less"
            )


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A directory where `content` is None. `path` is checked, `mode` has permission bits only."""

    path: str
    mode: int
    content: Iterator[bytes] | None


@dataclass(frozen=True, slots=True)
class Omitted:
    """Something of the tree that is not, or not faithfully, in the archive made of it."""

    path: str
    reason: str


Omissions = list[Omitted]


@dataclass(slots=True)
class _Overrides:
    """What extended headers say about the entry that follows them."""

    path: str | None = None
    size_bytes: int | None = None


def read_tar(stream: Readable, limits: TarLimits) -> Iterator[TarEntry]:
    """The regular files and directories of an uncompressed tar (ustar, PAX, GNU), in its order.

    Raises ArchiveRefused at the first entry of any other kind, with a path that `check_path` refuses, or over
    a limit, and where the stream ends before the archive does. Reads nothing after the end mark. What remains
    of an entry's content is read over when the next entry is asked for.
    """
    entries = total_bytes = 0
    while header := _next_header(stream, limits):
        path = _plain(header.name)
        size_bytes = _content_bytes(header)
        entries, total_bytes = entries + 1, total_bytes + size_bytes
        limits.check(path, entries=entries, file_bytes=size_bytes, total_bytes=total_bytes)
        if header.isdir():
            if path != ".":
                yield TarEntry(_checked(path), header.mode & 0o777, None)
            continue
        content = _content(stream, path, size_bytes)
        yield TarEntry(_checked(path), header.mode & 0o777, content)
        for _ in content:
            pass


def _next_header(stream: Readable, limits: TarLimits) -> tarfile.TarInfo | None:
    """The header of a file or directory, with its extended headers applied; None at the end mark."""
    overrides = _Overrides()
    spent_bytes = 0
    while header := _header(stream):
        spent_bytes += BLOCK
        if not _is_extension(header):
            return _applied(header, overrides)
        spent_bytes += max(0, header.size)
        if header.size < 0 or spent_bytes > limits.header_bytes:
            raise ArchiveRefused(
                f"{header.name[:80]!r}: over {limits.header_bytes} bytes of headers at one entry"
            )
        _extend(overrides, header, _exactly(stream, header.name, _padded(header.size))[: header.size])
    return None


def _header(stream: Readable) -> tarfile.TarInfo | None:
    block = _exactly(stream, "the next header", BLOCK)
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ArchiveRefused(f"not a tar header: {error}; send an uncompressed tar archive") from error


def _is_extension(header: tarfile.TarInfo) -> bool:
    return header.type in (*_EXTENDED, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)


def _extend(overrides: _Overrides, header: tarfile.TarInfo, payload: bytes) -> None:
    if header.type == tarfile.GNUTYPE_LONGNAME:
        overrides.path = os.fsdecode(payload.partition(b"\0")[0])
        return
    for key, value in _pax_records(payload):
        if key.startswith(b"GNU.sparse."):
            raise ArchiveRefused(f"{header.name[:80]!r}: sparse files are refused: pack them in full")
        if key not in (b"path", b"size"):
            continue
        if header.type == tarfile.XGLTYPE:
            raise ArchiveRefused(f"a global header sets {os.fsdecode(key)!r} of all entries: pack without it")
        if key == b"path":
            overrides.path = os.fsdecode(value)
        else:
            overrides.size_bytes = _decimal(value)


def _pax_records(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """POSIX.1-2017, pax: each record is "%d %s=%s\\n", the number being the record's own length."""
    at = 0
    while at < len(payload):
        digits, space, _ = payload[at : at + 8].partition(b" ")
        end = at + _decimal(digits)
        key, equals, value = payload[at + len(digits) + 1 : end - 1].partition(b"=")
        if not (space and key and equals and payload[end - 1 : end] == b"\n"):
            raise ArchiveRefused("an extended header has a malformed record: pack it with another program")
        yield key, value
        at = end


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise ArchiveRefused(f"an extended header has {digits[:20]!r} where a number belongs")
    return int(digits)


def _applied(header: tarfile.TarInfo, overrides: _Overrides) -> tarfile.TarInfo:
    if overrides.path is not None:
        header.name = overrides.path
    if overrides.size_bytes is not None:
        header.size = overrides.size_bytes
    return header


def _content_bytes(header: tarfile.TarInfo) -> int:
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        kind = _KINDS.get(header.type, f"of the unknown type {header.type!r}")
        raise ArchiveRefused(f"{header.name[:80]!r} is {kind}: pack only regular files and directories")
    if header.size < 0 or (header.isdir() and header.size):
        raise ArchiveRefused(f"{header.name[:80]!r} cannot have the size {header.size}")
    return header.size


def _plain(name: str) -> str:
    """As other programs write names: "./a" and "a/" are "a", "./" is "."."""
    name = name.rstrip("/")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _checked(path: str) -> str:
    try:
        return check_path(path)
    except PathRefused as error:
        raise ArchiveRefused(f"entry refused: {error}") from error


def _content(stream: Readable, path: str, size_bytes: int) -> Iterator[bytes]:
    left_bytes = size_bytes
    while left_bytes:
        chunk = stream.read(min(left_bytes, CHUNK_BYTES))
        if not chunk:
            raise _cut(path)
        left_bytes -= len(chunk)
        yield chunk
    _exactly(stream, path, _padded(size_bytes) - size_bytes)


def _exactly(stream: Readable, what: str, size_bytes: int) -> bytes:
    parts = []
    while size_bytes:
        part = stream.read(size_bytes)
        if not part:
            raise _cut(what)
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)


def _cut(what: str) -> ArchiveRefused:
    return ArchiveRefused(
        f"the archive ends in {what[:80]!r}, before its end mark: it was cut, send it again"
    )


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK) * BLOCK


def write_tar(directory: int, limits: TarLimits, omitted: Omissions) -> Iterator[bytes]:
    """A PAX archive of the tree below `directory`, names sorted and relative to it, modes without setuid.

    Only regular files and directories are in it, so that no link can lead whoever unpacks it out of its
    directory; whatever else is there goes to `omitted`. Hard links become copies. A file that shrinks while
    it is read is filled up with zeros and told in `omitted`; what it grows is left out. Raises ArchiveRefused
    over a limit: the archive then lacks its end mark, so a reader sees that it was cut.
    """
    pack = _Pack(directory, limits, omitted)
    yield from pack.tree()
    yield END


def write_tar_of_file(descriptor: int, name: str, limits: TarLimits, omitted: Omissions) -> Iterator[bytes]:
    """As `write_tar`, of one open regular file."""
    yield from _Pack(-1, limits, omitted).file(name, descriptor, os.fstat(descriptor))
    yield END


class _Pack:
    """The tree is looked up anew from its root at each entry: no depth of it holds descriptors."""

    def __init__(self, root: int, limits: TarLimits, omitted: Omissions) -> None:
        self._root = root
        self._limits = limits
        self._omitted = omitted
        self._entries = 0
        self._total_bytes = 0

    def tree(self) -> Iterator[bytes]:
        with opened(open_directory(self._root, ".")) as top:
            pending = self._names(top, "")
        while pending:
            path = pending.pop()
            try:
                descriptor, status = open_entry(self._root, check_path(path))
            except FileNotFoundError:
                continue  # removed since it was listed
            except PathRefused as error:
                self._omitted.append(Omitted(path, str(error)))
                continue
            with opened(descriptor):
                if stat.S_ISDIR(status.st_mode):
                    yield self._header(path, status, tarfile.DIRTYPE, 0)
                    pending += self._names(descriptor, f"{path}/")
                else:
                    yield from self.file(path, descriptor, status)

    def _names(self, descriptor: int, prefix: str) -> list[str]:
        """Paths, last first. They are counted while they are read: a directory can have millions."""
        paths = []
        with os.scandir(descriptor) as found:
            for entry in found:
                self._count(prefix + entry.name, entries=1)
                paths.append(prefix + entry.name)
        return sorted(paths, reverse=True)

    def file(self, path: str, descriptor: int, status: os.stat_result) -> Iterator[bytes]:
        """A file of less than a chunk has the size that was read; a longer one the size that it claimed."""
        chunk = os.read(descriptor, CHUNK_BYTES)
        size_bytes = len(chunk) if len(chunk) < CHUNK_BYTES else max(status.st_size, CHUNK_BYTES)
        self._count(path, file_bytes=size_bytes)
        yield self._header(path, status, tarfile.REGTYPE, size_bytes)
        left_bytes = size_bytes
        while chunk:
            yield chunk
            left_bytes -= len(chunk)
            chunk = os.read(descriptor, min(left_bytes, CHUNK_BYTES))
        if left_bytes:
            self._omitted.append(
                Omitted(path, f"shrank while it was read: its last {left_bytes} bytes are zeros")
            )
        yield from _zeros(left_bytes + _padded(size_bytes) - size_bytes)

    def _header(self, path: str, status: os.stat_result, kind: bytes, size_bytes: int) -> bytes:
        header = tarfile.TarInfo(path)
        header.type = kind
        header.size = size_bytes
        header.mode = status.st_mode & 0o777
        header.uid, header.gid = status.st_uid, status.st_gid
        header.mtime = int(status.st_mtime)
        return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def _count(self, path: str, *, entries: int = 0, file_bytes: int = 0) -> None:
        self._entries += entries
        self._total_bytes += file_bytes
        self._limits.check(path, entries=self._entries, file_bytes=file_bytes, total_bytes=self._total_bytes)


def _zeros(size_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        step_bytes = min(size_bytes, CHUNK_BYTES)
        yield bytes(step_bytes)
        size_bytes -= step_bytes

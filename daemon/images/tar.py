"""Headers of an untrusted tar, one after another: read the way that the engine's own reader does.

Only Python's own tarfile would be shorter: it keeps every entry, follows chained headers without end, takes
the size that a header claims for an allocation and needs five times as long. Where readers differ this one
follows Go's archive/tar, with which Docker unpacks: what it does not unpack is not judged, and the reverse.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from daemon.images.child import Unscannable

BLOCK = 512
CHUNK_BYTES = 1 << 20
HEADERS_BYTES = 1 << 20
PATH_CHARACTERS = 4096
ZEROS = bytes(BLOCK)

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"
_CONTENT_FREE = {LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO}
_KNOWN = {REGULAR, *_CONTENT_FREE}
_EXTENSIONS = {"x", "g", "L", "K"}
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Source(Protocol):
    def read(self, size_bytes: int, /) -> bytes: ...


class Reader(Protocol):
    """`take` gives exactly as many bytes unless the end comes first; `skip` whether there were as many."""

    def take(self, size_bytes: int, /) -> bytes: ...
    def skip(self, size_bytes: int, /) -> bool: ...
    def position(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of an open file."""

    file: IO[bytes]
    offset: int
    size_bytes: int


class _Plain:
    def __init__(self, section: Section) -> None:
        self._file, self._left = section.file, section.size_bytes
        self._file.seek(section.offset)

    def read(self, size_bytes: int, /) -> bytes:
        part = self._file.read(min(size_bytes, self._left))
        self._left -= len(part)
        return part


class _Gunzipped:
    """As Go reads gzip: one member after another."""

    def __init__(self, packed: Source) -> None:
        self._packed = packed
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""

    def read(self, size_bytes: int, /) -> bytes:
        while True:
            self._pending = self._pending or self._packed.read(CHUNK_BYTES)
            if not self._pending:
                return b""
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(wbits=31)
            part = self._inflate.decompress(self._pending, size_bytes)
            self._pending = self._inflate.unused_data or self._inflate.unconsumed_tail
            if part:
                return part


class Stream:
    """Bytes in order, hashed as they pass, `limit_bytes` of them at most."""

    def __init__(self, source: Source, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self._buffer = b""
        self._at = 0
        self.read_bytes = 0

    def take(self, size_bytes: int) -> bytes:
        """Exactly as many, unless the end comes first."""
        end = self._at + size_bytes
        if end > len(self._buffer):
            self._refill(size_bytes)
            end = size_bytes
        part = self._buffer[self._at : end]
        self._at = min(end, len(self._buffer))
        return part

    def position(self) -> int:
        return self.read_bytes - (len(self._buffer) - self._at)

    def skip(self, size_bytes: int) -> bool:
        """Whether there were as many."""
        while size_bytes > 0:
            if self._at == len(self._buffer):
                self._refill(1)
                if not self._buffer:
                    return False
            step = min(size_bytes, len(self._buffer) - self._at)
            self._at += step
            size_bytes -= step
        return True

    def digest(self) -> str:
        """Of all, to the end, which is read first."""
        while True:
            self._at = len(self._buffer)
            self._refill(1)
            if not self._buffer:
                return f"sha256:{self._hash.hexdigest()}"

    def _refill(self, least_bytes: int) -> None:
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < least_bytes and (part := self._source.read(CHUNK_BYTES)):
            self._hash.update(part)
            parts.append(part)
            have += len(part)
            self.read_bytes += len(part)
            if self.read_bytes > self._limit_bytes:
                raise Unscannable(f"over {self._limit_bytes} bytes when unpacked")
        self._buffer, self._at = b"".join(parts), 0


def opened(section: Section, limit_bytes: int) -> Stream:
    """Unpacked, if it is packed. Raises Unscannable for a compression that is not read here."""
    section.file.seek(section.offset)
    magic = section.file.read(4)
    if magic == ZSTD_MAGIC:
        raise Unscannable("a layer is packed by zstd, which is not read: save the image unpacked")
    plain = _Plain(section)
    return Stream(_Gunzipped(plain) if magic[:2] == GZIP_MAGIC else plain, limit_bytes)


@dataclass(slots=True)
class Entry:
    """`path` is relative to the root, without "." and ".."; "" is the root itself."""

    path: str
    kind: str
    mode: int
    size_bytes: int
    link: str
    device: tuple[int, int] = (0, 0)
    capabilities: bytes = b""


@dataclass(slots=True)
class _Extended:
    """What the headers before one say of it."""

    path: str | None = None
    link: str | None = None
    size_bytes: int | None = None
    capabilities: bytes = b""
    long_path: str | None = None
    long_link: str | None = None
    spent_bytes: int = field(default=0)


def entries(stream: Reader) -> Iterator[Entry]:
    """Each entry; content may be taken from the stream before the next is asked for. Raises Unscannable."""
    while (entry := _next(stream)) is not None:
        end = stream.position() + -(-entry.size_bytes // BLOCK) * BLOCK
        yield entry
        if not stream.skip(end - stream.position()):
            raise Unscannable(f"ends inside {shown(entry.path)}, which claims {entry.size_bytes} bytes")


def _next(stream: Reader) -> Entry | None:
    extended = _Extended()
    while block := stream.take(BLOCK):
        if block == ZEROS:
            if stream.take(BLOCK) not in (ZEROS, b""):
                raise Unscannable("has data after one empty block, where a header belongs")
            return None
        if len(block) < BLOCK:
            raise Unscannable("ends inside a header")
        kind, size_bytes = _checked_kind(block), _number(block[124:136])
        if kind not in _EXTENSIONS:
            return _entry(block, kind, size_bytes, extended)
        _extend(extended, kind, _payload(stream, size_bytes, extended))
    return None


def _checked_kind(block: bytes) -> str:
    if _number(block[148:156]) != 256 + sum(block[:148]) + sum(block[156:]):
        raise Unscannable("has a header with a wrong checksum")
    return chr(block[156])


def _number(data: bytes) -> int:
    """Octal, or base 256 where the first bit is set (GNU); never negative."""
    if data[0] & 0x80:
        if data[0] & 0x40:
            raise Unscannable("has a header with a negative number")
        return int.from_bytes(bytes((data[0] & 0x3F,)) + data[1:], "big")
    try:
        return int(data.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise Unscannable("has a header with a malformed number") from error


def _payload(stream: Reader, size_bytes: int, extended: _Extended) -> bytes:
    extended.spent_bytes += BLOCK + size_bytes
    if extended.spent_bytes > HEADERS_BYTES:
        raise Unscannable(f"has over {HEADERS_BYTES} bytes of headers at one entry")
    payload = stream.take(-(-size_bytes // BLOCK) * BLOCK)
    if len(payload) < size_bytes:
        raise Unscannable("ends inside an extended header")
    return payload[:size_bytes]


def _extend(extended: _Extended, kind: str, payload: bytes) -> None:
    """A global header is passed over: Docker ignores them."""
    if kind == "L":
        extended.long_path = _text(payload)
    elif kind == "K":
        extended.long_link = _text(payload)
    elif kind == "x":
        for key, value in _records(payload):
            _record(extended, key, value)


def _record(extended: _Extended, key: bytes, value: bytes) -> None:
    if key == b"path":
        extended.path = _text(value)
    elif key == b"linkpath":
        extended.link = _text(value)
    elif key == b"size":
        if not value.isdigit() or len(value) > 19:
            raise Unscannable("has an extended header with a malformed size")
        extended.size_bytes = int(value)
    elif key == b"SCHILY.xattr.security.capability":
        extended.capabilities = value[:64]
    elif key.startswith(b"GNU.sparse."):
        raise Unscannable("has a sparse file, which is not read")


def _records(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """POSIX.1-2017, pax: each is "%d %s=%s\\n", the number being its own length."""
    at = 0
    while at < len(payload):
        digits, space, _ = payload[at : at + 8].partition(b" ")
        end = at + (int(digits) if digits.isdigit() else 0)
        key, equals, value = payload[at + len(digits) + 1 : end - 1].partition(b"=")
        if not (space and key and equals and payload[end - 1 : end] == b"\n"):
            raise Unscannable("has a malformed extended header")
        yield key, value
        at = end


def _entry(block: bytes, kind: str, size_bytes: int, extended: _Extended) -> Entry:
    name = extended.long_path or extended.path or _name(block)
    if kind in ("\0", "7"):
        kind = DIRECTORY if kind == "\0" and name.endswith("/") else REGULAR
    if kind not in _KNOWN:
        raise Unscannable(f"has {shown(name)} of the unknown kind {kind!r}")
    if extended.size_bytes is not None:
        size_bytes = extended.size_bytes
    link = extended.long_link or extended.link or _text(block[157:257]) if kind in (LINK, SYMLINK) else ""
    device = (
        (_number(block[329:337]), _number(block[337:345])) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
    )
    content_bytes = 0 if kind in _CONTENT_FREE else size_bytes
    mode = _number(block[100:108])
    return Entry(plain(name), kind, mode, content_bytes, link, device, extended.capabilities)


def _name(block: bytes) -> str:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        return f"{_text(block[345:500])}/{name}"
    return name


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def plain(name: str) -> str:
    """Relative to the root of the image. Raises Unscannable where it would lead out of it, or is too long."""
    if len(name) > PATH_CHARACTERS:
        raise Unscannable(f"has a path of {len(name)} characters")
    if not name.startswith(("/", ".")) and not name.endswith("/") and "//" not in name and "/." not in name:
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Unscannable(f"has {shown(name)}, which leads out of its folder")
    return "/".join(parts)


def shown(path: str) -> str:
    """For a message: short, and no terminal obeys it."""
    return ascii(path[:120])

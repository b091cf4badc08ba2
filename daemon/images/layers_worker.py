"""`python -m daemon.images.layers_worker LIMITS IMAGE_ID <archive`: tells what an untrusted image holds.

Runs confined. Nothing is unpacked to a file; memory and time are bounded by counts here and by the limits of
the process behind them. Answers with JSON: the contents, or why there are none.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO

from daemon.images import archive, os_release, tar
from daemon.images.child import Unscannable
from daemon.images.confinement import CannotConfine, Limits, confine
from daemon.images.contents import ImageContents
from daemon.images.notable import PEEK_BYTES, RULES, Kind, Notable
from daemon.images.os_release import UNKNOWN, OsRelease
from daemon.images.packages import MANAGERS, Package, Unreadable
from daemon.images.tree import Tree, TreeFull

ENTRIES = 2_000_000
UNPACKED_BYTES = 32 << 30
NOTABLES = 20_000
PACKAGES = 100_000
UNREAD = 50
PASSWD = "etc/passwd"  # noqa: S105  a path
PASSWD_BYTES = 1 << 20
USERS = 10_000
WHITEOUT, OPAQUE, META = ".wh.", ".wh..wh..opq", ".wh..wh."

# Records that are looked for by one path: a link that leads such a path elsewhere hides them.
ANCHORS = (
    *os_release.PATHS,
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/lib/rpm",
    "usr/lib/sysimage/rpm",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one path."""

    path: str
    packages: tuple[Package, ...] = ()
    notables: tuple[Notable, ...] = ()
    unread: str = ""
    os: OsRelease | None = None
    users: tuple[tuple[str, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.packages or self.notables or self.unread or self.os or self.users)


class Reading:
    """One image, layer by layer, lowest first."""

    def __init__(self) -> None:
        self._tree: Tree[Kept] = Tree()
        self._entries = self._notables = self._packages = self._unpacked_bytes = 0

    def layer(self, index: int, section: tar.Section, diff_id: str) -> None:
        """Raises Unscannable, also where the layer is not the one that `diff_id` names."""
        stream = tar.opened(section, UNPACKED_BYTES - self._unpacked_bytes)
        for entry in tar.entries(stream):
            self._entries += 1
            if self._entries > ENTRIES:
                raise Unscannable(f"over {ENTRIES} entries")
            self._entry(index, entry, stream)
        if stream.digest() != diff_id:
            raise Unscannable(f"is not what the configuration names: {tar.shown(diff_id)}")
        self._unpacked_bytes += stream.read_bytes

    def _entry(self, layer: int, entry: tar.Entry, stream: tar.Stream) -> None:
        folder, _, name = entry.path.rpartition("/")
        if name.startswith(WHITEOUT):
            self._whiteout(layer, folder, name)
            return
        kept = self._kept(layer, entry, stream)
        self._tree.replace(entry.path, is_folder=entry.kind == tar.DIRECTORY)
        if kept:
            self._count(kept)
            self._tree.put(entry.path, layer, kept)

    def _whiteout(self, layer: int, folder: str, name: str) -> None:
        if name == OPAQUE:
            self._tree.empty(folder, layer)
        elif not name.startswith(META):
            hidden = name.removeprefix(WHITEOUT)
            self._tree.remove(f"{folder}/{hidden}" if folder else hidden, layer)

    def _kept(self, layer: int, entry: tar.Entry, stream: tar.Stream) -> Kept | None:
        if entry.kind == tar.LINK:
            return self._linked(layer, entry)
        if entry.kind == tar.SYMLINK:
            unread = _misled(entry)
            return Kept(entry.path, unread=unread) if unread else None
        content = _Content(entry, stream)
        notables = _notables(layer, entry, content.peek)
        if entry.kind != tar.REGULAR:
            return Kept(entry.path, notables=notables) if notables else None
        return _record(entry, content, notables)

    def _linked(self, layer: int, entry: tar.Entry) -> Kept | None:
        """A hard link is one more name of a file that came before; only a record's content matters here."""
        notables = _notables(layer, entry, bytes)
        if not _is_record(entry.path):
            return Kept(entry.path, notables=notables) if notables else None
        known = self._tree.get(tar.plain(entry.link))
        if known is None:
            return Kept(
                entry.path, notables=notables, unread=f"{entry.path} is a link to {tar.shown(entry.link)}"
            )
        return replace(known, path=entry.path, notables=notables)

    def _count(self, kept: Kept) -> None:
        self._notables += len(kept.notables)
        self._packages += len(kept.packages)
        if self._notables > NOTABLES:
            raise Unscannable(f"over {NOTABLES} entries that need a look")
        if self._packages > PACKAGES:
            raise Unscannable(f"over {PACKAGES} packages")

    def contents(self, image_id: str, layers: archive.Layers) -> ImageContents:
        kept = list(self._tree.items())
        systems = {item.path: item.os for item in kept if item.os}
        system = next((systems[path] for path in os_release.PATHS if path in systems), UNKNOWN)
        hidden = (note for item in self._tree.gone for note in item.notables if note.kind is Kind.KEY_FILE)
        notables = [note for item in kept for note in item.notables]
        return ImageContents(
            image_id,
            system,
            tuple({package: None for item in kept for package in item.packages}),
            (*notables, *(replace(note, deleted=True) for note in hidden)),
            tuple(sorted(item.unread for item in kept if item.unread)[:UNREAD]),
            dict(user for item in kept for user in item.users),
            layers.config,
            len(layers.sections),
            self._entries,
            self._unpacked_bytes,
        )


class _Content:
    """Of one entry; taken from the stream once, when first asked for."""

    def __init__(self, entry: tar.Entry, stream: tar.Stream) -> None:
        self._size_bytes = entry.size_bytes
        self._stream = stream
        self._taken = b""

    def peek(self) -> bytes:
        return self.head(PEEK_BYTES)

    def head(self, most_bytes: int) -> bytes:
        want = min(self._size_bytes, most_bytes) - len(self._taken)
        if want > 0:
            self._taken += self._stream.take(want)
        return self._taken

    def whole(self, most_bytes: int) -> bytes:
        if self._size_bytes > most_bytes:
            raise Unreadable(f"has {self._size_bytes} bytes, the most is {most_bytes}")
        return self.head(most_bytes)


def _notables(layer: int, entry: tar.Entry, peek: Callable[[], bytes]) -> tuple[Notable, ...]:
    found = ((kind, rule(entry, peek)) for kind, rule in RULES.items())
    return tuple(Notable(kind, entry.path, layer, detail) for kind, detail in found if detail)


def _is_record(path: str) -> bool:
    return path in os_release.PATHS or any(manager.wanted(path) for manager in MANAGERS)


def _record(entry: tar.Entry, content: _Content, notables: tuple[Notable, ...]) -> Kept | None:
    path = entry.path
    if path in os_release.PATHS:
        return Kept(path, notables=notables, os=os_release.parse(content.head(os_release.MOST_BYTES)))
    if path == PASSWD:
        return Kept(path, notables=notables, users=_users(content.head(PASSWD_BYTES)))
    for manager in MANAGERS:
        if manager.wanted(path):
            try:
                packages = tuple(manager.read(path, content.whole(manager.MOST_BYTES)))
            except Unreadable as error:
                return Kept(path, notables=notables, unread=f"{tar.shown(path)}: {error}")
            return Kept(path, packages, notables)
    return Kept(path, notables=notables) if notables else None


def _users(content: bytes) -> tuple[tuple[str, int], ...]:
    """passwd(5)."""
    lines = (line.split(":") for line in content.decode("utf-8", "replace").splitlines()[:USERS])
    return tuple((line[0][:64], int(line[2])) for line in lines if len(line) > 2 and line[2].isdecimal())


def _misled(entry: tar.Entry) -> str:
    """Why a symbolic link hides a record: its path, or a folder of it, leads where nobody looks."""
    for anchor in ANCHORS:
        if anchor == entry.path or anchor.startswith(f"{entry.path}/"):
            start = posixpath.join("/", posixpath.dirname(entry.path), entry.link)
            target = posixpath.normpath(start + anchor.removeprefix(entry.path)).lstrip("/")
            if target not in ANCHORS and not _is_record(target):
                return f"{anchor} is led to {tar.shown(target)}"
    return ""


def read(file: IO[bytes], image_id: str) -> ImageContents:
    """Raises Unscannable."""
    layers = archive.read(file, image_id)
    reading = Reading()
    for index, (section, diff_id) in enumerate(zip(layers.sections, layers.diff_ids, strict=True)):
        try:
            reading.layer(index, section, diff_id)
        except Unscannable as error:
            raise Unscannable(f"layer {index} {error}") from error
    return reading.contents(image_id, layers)


def _answer(file: IO[bytes], image_id: str) -> bytes:
    try:
        return read(file, image_id).to_lines()
    except Unscannable as error:
        reason = str(error)
    except MemoryError:
        reason = "reading it needs more memory than it may have"
    except TreeFull:
        reason = "too many paths that need a look"
    except Exception as error:  # whatever an image provokes is a verdict on it, not a crash
        reason = f"reading it failed: {type(error).__name__}: {str(error)[:200]}"
    return json.dumps({"unscannable": reason}).encode()


def main(limits: str, image_id: str) -> None:
    file = open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115  lasts as long as the process
    try:
        confine(Limits(**json.loads(limits)), sealed=True)
    except CannotConfine as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(_answer(file, image_id))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What an image holds, as the reader of its layers tells it: plain values that cross as lines of JSON.

Lines, since an image may have a hundred thousand packages: the daemon reads them in a thread, and between two
of them it can answer others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from daemon.images.notable import Kind, Notable
from daemon.images.os_release import UNKNOWN, OsRelease
from daemon.images.packages.package import Kind as PackageKind
from daemon.images.packages.package import Package


@dataclass(frozen=True, slots=True)
class ImageContents:
    """`unread` are parts that should list packages and could not be read: their packages were not judged."""

    image_id: str
    os: OsRelease = UNKNOWN
    packages: tuple[Package, ...] = ()
    notables: tuple[Notable, ...] = ()
    unread: tuple[str, ...] = ()
    users: dict[str, int] = field(default_factory=dict)
    """Of the image's own passwd: name to uid."""
    config: dict[str, Any] = field(default_factory=dict)
    """The image's configuration, as its author wrote it: `config`, `history`, `created` and more."""
    layers: int = 0
    entries: int = 0
    unpacked_bytes: int = 0

    def to_lines(self) -> bytes:
        """First all but packages and notables, with their numbers; then one a line."""
        counts = {"packages": len(self.packages), "notables": len(self.notables)}
        head = asdict(replace(self, packages=(), notables=())) | counts
        return b"".join(
            json.dumps(item).encode() + b"\n"
            for item in (head, *map(_plain, self.packages), *map(_plain, self.notables))
        )

    @classmethod
    def from_lines(cls, content: bytes) -> ImageContents:
        """Raises ValueError, TypeError or KeyError for what is damaged or cut off."""
        lines = map(json.loads, content.splitlines())
        head: dict[str, Any] = next(lines, {})
        given = {
            **head,
            "os": OsRelease(**head["os"]),
            "packages": tuple(_package(next(lines, {})) for _ in range(head["packages"])),
            "notables": tuple(_notable(next(lines, {})) for _ in range(head["notables"])),
            "unread": tuple(head["unread"]),
        }
        return cls(**given)


def _plain(item: Package | Notable) -> dict[str, Any]:
    """As `asdict`, which takes ten times as long."""
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def _package(item: dict[str, Any]) -> Package:
    return Package(**{**item, "kind": PackageKind(item["kind"])})


def _notable(item: dict[str, Any]) -> Notable:
    return Notable(**{**item, "kind": Kind(item["kind"])})

"""What an image holds, as the reader of its layers tells it: plain values that cross as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
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

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> ImageContents:
        given = json.loads(content)
        return cls(
            **{
                **given,
                "os": OsRelease(**given["os"]),
                "packages": tuple(_package(item) for item in given["packages"]),
                "notables": tuple(
                    Notable(**{**item, "kind": Kind(item["kind"])}) for item in given["notables"]
                ),
                "unread": tuple(given["unread"]),
            }
        )


def _package(item: dict[str, Any]) -> Package:
    return Package(**{**item, "kind": PackageKind(item["kind"])})

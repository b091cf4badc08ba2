"""Alpine and what descends from it: apk-tools' installed database."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.images.packages.package import Kind, Package
from daemon.images.packages.stanzas import stanzas

MOST_BYTES = 32 << 20
_PATHS = ("lib/apk/db/installed", "usr/lib/apk/db/installed")


def wanted(path: str) -> bool:
    return path in _PATHS


def read(path: str, content: bytes) -> Iterator[Package]:
    """P is the package, V its version, o the origin it was built from, A the architecture."""
    del path
    for stanza in stanzas(content):
        if "P" in stanza and stanza.get("V"):
            name, version = stanza["P"], stanza["V"]
            yield Package(Kind.APK, name, version, stanza.get("o", name), version, stanza.get("A", ""))

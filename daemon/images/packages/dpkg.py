"""Debian and what descends from it: dpkg's status file, and the status.d of images without dpkg."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.images.packages.package import Kind, Package
from daemon.images.packages.stanzas import stanzas

MOST_BYTES = 32 << 20
_STATUS, _FOLDER = "var/lib/dpkg/status", "var/lib/dpkg/status.d/"
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


def wanted(path: str) -> bool:
    return path == _STATUS or (path.startswith(_FOLDER) and not path.endswith(".md5sums"))


def read(path: str, content: bytes) -> Iterator[Package]:
    """deb-status: only what is installed, be it configured or not, has files in the image."""
    del path
    for stanza in stanzas(content):
        state = stanza.get("Status", "installed").rpartition(" ")[2]
        if "Package" in stanza and stanza.get("Version") and state not in ("not-installed", "config-files"):
            yield _package(stanza)


def _package(stanza: dict[str, str]) -> Package:
    name, version = stanza["Package"], stanza["Version"]
    source = _SOURCE.fullmatch(stanza.get("Source", ""))
    source_name, source_version = source.groups() if source else (name, None)
    return Package(
        Kind.DEB, name, version, source_name, source_version or version, stanza.get("Architecture", "")
    )

"""Python distributions, by the metadata that their installer leaves (PyPA core metadata)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.images.packages.package import Kind, Package, Unreadable
from daemon.images.packages.stanzas import stanzas

MOST_BYTES = 4 << 20
_ENDS = (".dist-info/METADATA", ".egg-info/PKG-INFO", ".egg-info")


def wanted(path: str) -> bool:
    return path.endswith(_ENDS)


def read(path: str, content: bytes) -> Iterator[Package]:
    head = next(stanzas(content.partition(b"\n\n")[0]), {})
    if not head.get("Name") or not head.get("Version"):
        raise Unreadable(f"{path[:120]!a} names no package")
    yield Package(Kind.PYPI, normalized(head["Name"]), head["Version"])


def normalized(name: str) -> str:
    """As advisories have it: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""Node packages that are installed: the package.json of each folder below a node_modules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from daemon.images.packages.package import Kind, Package, Unreadable

MOST_BYTES = 4 << 20
_PATH = re.compile(r"(?:.*/)?node_modules/((?:@[^/]+/)?[^/@][^/]*)/package\.json", re.DOTALL)


def wanted(path: str) -> bool:
    return path.endswith("/package.json") and _PATH.fullmatch(path) is not None


def read(path: str, content: bytes) -> Iterator[Package]:
    """Only one with a name and a version is a package; others mark a folder's module type."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path[:120]!a} is broken JSON") from error
    name, version = (parsed.get(key) for key in ("name", "version")) if isinstance(parsed, dict) else ("", "")
    if isinstance(name, str) and isinstance(version, str) and name and version:
        yield Package(Kind.NPM, name, version)

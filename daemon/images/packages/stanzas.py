"""Records of "key: value" lines with empty lines between them: deb822(5), and what apk made of it."""

from __future__ import annotations

from collections.abc import Iterator


def stanzas(content: bytes) -> Iterator[dict[str, str]]:
    """First lines of values only: none that is wanted here has more."""
    found: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").split("\n"):
        if not line.strip():
            if found:
                yield found
            found = {}
        elif not line[0].isspace():
            key, colon, value = line.partition(":")
            if colon:
                found.setdefault(key, value.strip())
    if found:
        yield found

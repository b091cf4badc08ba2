"""Which distribution an image is: os-release(5)."""

from __future__ import annotations

from dataclasses import dataclass

PATHS = ("etc/os-release", "usr/lib/os-release")
MOST_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class OsRelease:
    """Empty where the image does not say."""

    id: str = ""
    version_id: str = ""
    pretty_name: str = ""

    @property
    def known(self) -> bool:
        return bool(self.id)


UNKNOWN = OsRelease()


def parse(content: bytes) -> OsRelease:
    values: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            values[key] = value.strip("\"'")[:128] if value.isprintable() else ""
    return OsRelease(
        values.get("ID", "").lower(), values.get("VERSION_ID", ""), values.get("PRETTY_NAME", "")
    )

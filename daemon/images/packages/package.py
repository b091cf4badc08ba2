"""One installed package, and its package URL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daemon.images.os_release import OsRelease

TEXT_CHARACTERS = 512


class Unreadable(Exception):
    """A part of the image that should list packages and cannot be read: what is in it was not judged."""


class Kind(StrEnum):
    """The types of the package URL specification."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYPI = "pypi"
    NPM = "npm"

    @property
    def of_os(self) -> bool:
        return self in (Kind.DEB, Kind.APK, Kind.RPM)


@dataclass(frozen=True, slots=True)
class Package:
    """Advisories of a distribution speak of the source package, which has a name and version of its own."""

    kind: Kind
    name: str
    version: str
    source: str = ""
    source_version: str = ""
    architecture: str = ""

    def __post_init__(self) -> None:
        texts = (self.name, self.version, self.source, self.source_version, self.architecture)
        if not self.name or any(len(text) > TEXT_CHARACTERS or not text.isprintable() for text in texts):
            raise Unreadable(f"a {self.kind} package has the name {self.name[:80]!a}")

    @property
    def advised(self) -> tuple[str, str]:
        """Name and version in the words of advisories."""
        return self.source or self.name, self.source_version or self.version

    def purl(self, os: OsRelease) -> str:
        """https://github.com/package-url/purl-spec"""
        from packageurl import PackageURL

        namespace, _, name = self.name.rpartition("/") if self.kind is Kind.NPM else (None, "", self.name)
        qualifiers = {"arch": self.architecture} if self.architecture else {}
        if self.kind.of_os:
            namespace = os.id
            qualifiers["distro"] = f"{os.id}-{os.version_id}"
        return str(PackageURL(self.kind, namespace or None, name, self.version or None, qualifiers))

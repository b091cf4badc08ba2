"""What a check of an image returns: plain values."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from daemon.findings import Severity

if TYPE_CHECKING:
    from daemon.images.contents import ImageContents


@dataclass(frozen=True, slots=True)
class SavedImage:
    """`path` is a tar as `docker save` writes it, readable by this process. `image_id` is "sha256:..."."""

    image_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerability:
    id: str
    package: str
    version: str
    fixed_version: str | None = None
    severity: Severity | None = None
    """None where the source gives none: policy says what that counts as."""
    source: str = ""
    title: str = ""
    purl: str = ""
    """Of the package; empty where the scanner does not give it."""
    exploited: bool = False
    """In the catalogue of known exploited vulnerabilities, as far as one is at hand."""
    epss: float | None = None
    """Probability, 0 to 1, of exploitation in the next 30 days (FIRST's EPSS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIssue:
    """`layer` counts from 0, the lowest."""

    id: str
    title: str
    severity: Severity
    path: str | None = None
    layer: int | None = None
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanResult:
    """Equal to itself alone: what follows from thousands of vulnerabilities is remembered by it.

    No vulnerabilities mean none only where `understood`; else `unscannable_reason` says what lacked.
    """

    scanner: str
    version: str = ""
    """Of the scanner's program."""
    database_time: datetime | None = None
    understood: bool
    unscannable_reason: str | None = None
    vulnerabilities: tuple[Vulnerability, ...] = ()
    packages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFindings:
    """Of the manifest `image`, NAME@sha256:..., under one requirement. A signer counts once."""

    image: str
    threshold: int
    signers: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Why each of the other signatures does not count."""
    problem: str | None = None
    """That there is none, or why nobody can tell."""
    remedy: str = "have it signed by those whom the policy names"

    @property
    def met(self) -> bool:
        return self.problem is None and len(self.signers) >= self.threshold


Archive = Callable[[], AbstractAsyncContextManager[SavedImage]]
"""Saves an image for as long as the block runs. Entering it raises EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerStatus:
    """Of a scanner as it is set up. `problem`: it judges nothing, whatever its database is."""

    name: str
    version: str = ""
    database: Path
    database_time: datetime | None = None
    problem: str | None = None
    database_problem: str | None = None

    def __str__(self) -> str:
        return told(self.name, self.version, self.database_time)


def told(name: str, version: str, database_time: datetime | None) -> str:
    """Who judged, by what."""
    time = f" of {database_time:%Y-%m-%d}" if database_time else " of unknown age"
    return f"{name}{f' {version}' if version else ''} with a database{time}"


class Scanner(Protocol):
    """To add one: a class like this, and its name in `choice`."""

    @property
    def name(self) -> str: ...

    async def scan(self, image: SavedImage) -> ScanResult:
        """Does not raise for what an image holds: an image that cannot be judged is not understood."""

    async def match(self, contents: ImageContents, archive: Archive) -> ScanResult:
        """The same of an image that was read before. Raises EngineError where it needs `archive`."""

    async def status(self) -> ScannerStatus:
        """Does not raise."""

    def stamp(self) -> Hashable:
        """Another one once the scanner, its program or its database is another: findings are kept by it."""

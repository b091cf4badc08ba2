"""What a check of an image returns: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from daemon.findings import Severity


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


class Scanner(Protocol):
    name: str

    async def scan(self, image: SavedImage) -> ScanResult:
        """Does not raise for what an image holds: an image that cannot be judged is not understood."""

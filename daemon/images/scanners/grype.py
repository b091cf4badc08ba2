"""Grype, by its program: https://github.com/anchore/grype. Judged by its answer, as Trivy is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.images.beside import beside
from daemon.images.child import Unscannable
from daemon.images.contents import ImageContents
from daemon.images.exploits import NOTHING_KNOWN, Exploits
from daemon.images.findings import Archive, SavedImage, ScannerStatus, ScanResult, Vulnerability
from daemon.images.layers import read_image
from daemon.images.osv.severity import word
from daemon.images.packages.package import Kind
from daemon.images.packages.python import normalized
from daemon.images.scanners import canary
from daemon.images.scanners.builtin import MAX_AGE, gaps, not_understood, now, staleness
from daemon.images.scanners.program import Program, check_closed, copy, private_folder, readable
from daemon.images.scanners.result import result
from daemon.images.scanners.stamp import stamp

_TYPES = {Kind.PYPI: "python", Kind.NPM: "npm"}
_SETTINGS = """\
check-for-app-update: false
db:
  auto-update: false
  validate-age: false
  cache-dir: {cache}
"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Fix(_Model):
    versions: list[str] | None = None


class _Epss(_Model):
    epss: float


class _Advisory(_Model):
    id: str
    severity: str = "Unknown"
    namespace: str = ""
    description: str = ""
    fix: _Fix = _Fix()
    epss: list[_Epss] = []
    known_exploited: list[Any] = Field([], alias="knownExploited")


class _Artifact(_Model):
    name: str
    version: str = ""
    type: str = ""
    purl: str = ""


class Match(_Model):
    vulnerability: _Advisory
    related: list[_Advisory] = Field([], alias="relatedVulnerabilities")
    artifact: _Artifact


class _Descriptor(_Model):
    name: Literal["grype"]
    version: str = ""
    db: dict[str, Any]


class Report(_Model):
    """Of `grype --output json`. One without the state of its database is refused."""

    matches: list[Match]
    descriptor: _Descriptor

    def built(self) -> datetime | None:
        """When the database was made: `db.status.built` of the descriptor, once `db.built`."""
        status = self.descriptor.db.get("status")
        text = (status if isinstance(status, dict) else self.descriptor.db).get("built")
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError:
            return None
        return found if found.tzinfo else None


@dataclass(frozen=True)
class GrypeScanner:
    """`database` is its cache folder, `db.cache-dir` of its settings. It is copied for each scan."""

    program: Program
    database: Path
    max_age: timedelta = MAX_AGE
    exploits: Exploits = NOTHING_KNOWN
    clock: Callable[[], datetime] = now
    name: str = "grype"

    async def scan(self, image: SavedImage) -> ScanResult:
        try:
            return await self.match(await read_image(image), lambda: nullcontext(image))
        except Unscannable as error:
            return not_understood(self.name, str(error))

    async def match(self, contents: ImageContents, archive: Archive) -> ScanResult:
        try:
            return await self._match(contents, archive)
        except Unscannable as error:
            return not_understood(self.name, str(error), packages=len(contents.packages))

    async def status(self) -> ScannerStatus:
        """How old its database is only its answers tell."""
        status = ScannerStatus(name=self.name, database=self.database)
        try:
            async with self.program.opened(), private_folder():
                pass
        except Unscannable as error:
            return replace(status, problem=str(error))
        try:
            check_closed(self.database)
        except Unscannable as error:
            return replace(status, database_problem=str(error))
        empty = None if stamp(self.database) else f"{self.database}: there is nothing in it: fetch it"
        return replace(status, database_problem=empty)

    def stamp(self) -> Hashable:
        return self.name, self.program.stamp(), stamp(self.database)

    async def _match(self, contents: ImageContents, archive: Archive) -> ScanResult:
        async with self.program.opened() as program, private_folder() as folder:
            await copy(self.database, folder / "db")
            (folder / "grype.yaml").write_text(_SETTINGS.format(cache=folder / "db"))
            (folder / "grype.yaml").chmod(0o644)
            sent = canary.write(folder / "canary.tar", contents.os)
            blind = _blind(await self._report(program, folder, sent), canary.kinds(contents))
            async with archive() as image:
                report = await self._report(program, folder, image)
        time = report.built()
        reasons = [*gaps(contents), *blind, *staleness(time, self.max_age, self.clock())]
        found = await beside(vulnerabilities, report)
        found_by = self.name, report.descriptor.version[:64], time
        return result(found_by, reasons, [self.exploits.mark(one) for one in found], len(contents.packages))

    async def _report(self, program: int, folder: Path, image: SavedImage) -> Report:
        with readable(image.path) as archive:
            given = f"docker-archive:/proc/self/fd/{archive}"
            arguments = [given, "--output", "json", "--quiet", "--config", str(folder / "grype.yaml")]
            answer = await self.program.run(program, arguments, folder, image=archive)
        return await beside(parse, answer)


def parse(answer: bytes) -> Report:
    """Raises Unscannable for anything but a report of grype."""
    try:
        return Report.model_validate_json(answer)
    except ValidationError as error:
        raise Unscannable(f"grype's answer is none of its own: {error.errors()[0]['msg']}") from error


def vulnerabilities(report: Report) -> list[Vulnerability]:
    return [_vulnerability(match) for match in report.matches]


def _vulnerability(match: Match) -> Vulnerability:
    advisory, artifact = match.vulnerability, match.artifact
    everywhere = [advisory, *match.related]
    cve = next((item.id for item in everywhere if item.id.startswith("CVE-")), advisory.id)
    return Vulnerability(
        id=cve,
        package=normalized(artifact.name) if artifact.type == _TYPES[Kind.PYPI] else artifact.name,
        version=artifact.version,
        fixed_version=next(iter(advisory.fix.versions or []), None),
        severity=next(filter(None, (word(item.severity) for item in everywhere)), None),
        source=advisory.namespace or "grype",
        title=advisory.description[:500],
        purl=artifact.purl,
        exploited=any(item.known_exploited for item in everywhere),
        epss=max((score.epss for item in everywhere for score in item.epss), default=None),
    )


def _blind(report: Report, kinds: frozenset[Kind]) -> list[str]:
    seen = {match.artifact.type for match in report.matches}
    return [
        f"the database does not know a vulnerable {kind} package: update it"
        for kind in sorted(kinds)
        if _TYPES.get(kind, str(kind)) not in seen
    ]

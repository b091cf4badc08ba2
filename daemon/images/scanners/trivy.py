"""Trivy, by its program: https://trivy.dev. Vulnerabilities only: its search for secrets takes a minute.

Its exit status and an empty answer prove nothing: it is 0 for an image that it does not understand, an empty
database and an old one. So the answer is read, the age of the database checked and a canary sent first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

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

# GHSA-69fq-xp46-6x23 (CVE-2026-33634): releases with a trojan horse in them.
REFUSED_VERSIONS = frozenset({"0.69.4", "0.69.5", "0.69.6"})
DATABASE_FORMAT = 2
METADATA = "metadata.json"

_OS, _LANGUAGE = "os-pkgs", "lang-pkgs"
_TYPES = {Kind.PYPI: "python-pkg", Kind.NPM: "node-pkg"}


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Identifier(_Model):
    purl: str = Field("", alias="PURL")


class _Found(_Model):
    id: str = Field(alias="VulnerabilityID")
    package: str = Field(alias="PkgName")
    identifier: _Identifier = Field(_Identifier(), alias="PkgIdentifier")
    version: str = Field("", alias="InstalledVersion")
    fixed: str = Field("", alias="FixedVersion")
    severity: str = Field("UNKNOWN", alias="Severity")
    source: str = Field("", alias="SeveritySource")
    title: str = Field("", alias="Title")


class _Result(_Model):
    kind: str = Field("", alias="Class")
    type: str = Field("", alias="Type")
    packages: list[Any] = Field([], alias="Packages")
    found: list[_Found] = Field([], alias="Vulnerabilities")


class _System(_Model):
    family: str = Field(alias="Family")
    name: str = Field("", alias="Name")


class _Metadata(_Model):
    system: _System | None = Field(None, alias="OS")
    image_id: str = Field("", alias="ImageID")
    diff_ids: list[str] = Field([], alias="DiffIDs")


class Report(_Model):
    """Of `trivy image --format json`. Absent arrays are absent keys; another schema is refused."""

    schema_version: int = Field(alias="SchemaVersion", ge=2, le=2)
    metadata: _Metadata = Field(alias="Metadata")
    results: list[_Result] = Field([], alias="Results")


class _Database(_Model):
    version: int = Field(alias="Version")
    updated: datetime = Field(alias="UpdatedAt")


@dataclass(frozen=True)
class TrivyScanner:
    """`database` is the folder of trivy.db and metadata.json. It is copied for each scan."""

    program: Program
    database: Path
    max_age: timedelta = MAX_AGE
    exploits: Exploits = NOTHING_KNOWN
    clock: Callable[[], datetime] = now
    name: str = "trivy"

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
        try:
            async with self.program.opened() as program, private_folder() as folder:
                version = await self._version(program, folder)
        except Unscannable as error:
            return ScannerStatus(name=self.name, database=self.database, problem=str(error))
        time, problem = self._database_status()
        return ScannerStatus(
            name=self.name,
            version=version,
            database=self.database,
            database_time=time,
            database_problem=problem,
        )

    def stamp(self) -> Hashable:
        return self.name, self.program.stamp(), stamp(self.database)

    def _database_status(self) -> tuple[datetime | None, str | None]:
        """Its time, and what is wrong with it."""
        try:
            check_closed(self.database)
            time = _database(self.database / METADATA).updated
        except Unscannable as error:
            return None, str(error)
        return time, "; ".join(staleness(time, self.max_age, self.clock())) or None

    async def _match(self, contents: ImageContents, archive: Archive) -> ScanResult:
        async with self.program.opened() as program, private_folder() as folder:
            version = await self._version(program, folder)
            await copy(self.database, folder / "db")
            database = _database(folder / "db" / METADATA)
            sent = canary.write(folder / "canary.tar", contents.os)
            blind = _blind(await self._report(program, folder, sent), canary.kinds(contents))
            async with archive() as image:
                report = await self._report(program, folder, image)
        _check_identity(report, contents.config)
        reasons = [*gaps(contents), *blind, *staleness(database.updated, self.max_age, self.clock())]
        count = sum(len(result.packages) for result in report.results)
        if report.metadata.system is None and not count:
            reasons.append("trivy recognized no system and no package")
        found = await beside(vulnerabilities, report)
        found_by = self.name, version, database.updated
        return result(found_by, reasons, [self.exploits.mark(one) for one in found], count)

    async def _version(self, program: int, folder: Path) -> str:
        """Raises Unscannable, also for one that must not be used."""
        arguments = ["version", "--format", "json", "--cache-dir", str(folder)]
        version = await self.program.version(program, arguments, folder, _told_version)
        if version in REFUSED_VERSIONS:
            raise Unscannable(
                f"{self.program.path}: trivy {version} was published with a trojan horse: remove it"
            )
        return version

    async def _report(self, program: int, folder: Path, image: SavedImage) -> Report:
        with readable(image.path) as archive:
            given = f"/proc/self/fd/{archive}"
            answer = await self.program.run(program, _arguments(folder, given), folder, image=archive)
        return await beside(parse, answer)


def _told_version(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["Version"])[:64]
    except (ValueError, KeyError, TypeError) as error:
        raise Unscannable("the program does not tell its version as trivy does") from error


def _arguments(folder: Path, archive: str) -> list[str]:
    """Nothing is left to a default that a file or a variable could change."""
    return [
        "image",
        *("--input", archive),
        *("--format", "json"),
        *("--cache-dir", str(folder)),
        *("--cache-backend", "memory"),
        *("--scanners", "vuln"),
        *("--pkg-types", "os,library"),
        *("--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"),
        *("--ignorefile", str(folder / "nothing")),
        *("--timeout", "5m"),
        "--list-all-pkgs",
        "--skip-db-update",
        "--skip-java-db-update",
        "--offline-scan",
        "--no-progress",
        "--quiet",
    ]


def parse(answer: bytes) -> Report:
    """Raises Unscannable for anything but a report of an image."""
    try:
        return Report.model_validate_json(answer)
    except ValidationError as error:
        raise Unscannable(f"trivy's answer is none of an image: {error.errors()[0]['msg']}") from error


def vulnerabilities(report: Report) -> list[Vulnerability]:
    return [
        Vulnerability(
            id=item.id,
            package=normalized(item.package) if result.type == _TYPES[Kind.PYPI] else item.package,
            version=item.version,
            fixed_version=item.fixed or None,
            severity=word(item.severity),
            source=item.source or "trivy",
            title=item.title[:500],
            purl=item.identifier.purl,
        )
        for result in report.results
        for item in result.found
    ]


def _database(path: Path) -> _Database:
    try:
        found = _Database.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise Unscannable(f"the database has no usable {path.name}: fetch it again") from error
    if found.version != DATABASE_FORMAT:
        raise Unscannable(f"the database is of format {found.version}, not {DATABASE_FORMAT}: fetch it again")
    return found


def _blind(report: Report, kinds: frozenset[Kind]) -> list[str]:
    """The parts of the database, of those that the image needs, in which the canary was not noticed."""
    seen = {result.kind if result.kind == _OS else result.type for result in report.results if result.found}
    return [
        f"the database does not know a vulnerable {kind} package: update it"
        for kind in sorted(kinds)
        if (_OS if kind.of_os else _TYPES[kind]) not in seen
    ]


def _check_identity(report: Report, config: dict[str, Any]) -> None:
    if report.metadata.diff_ids != (config.get("rootfs") or {}).get("diff_ids"):
        raise Unscannable("trivy read other layers than those of the image")

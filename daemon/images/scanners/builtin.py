"""The scanner that needs no program: packages out of the layers, advisories out of a local OSV directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from daemon import __version__
from daemon.findings import Severity
from daemon.images.beside import beside
from daemon.images.child import Unscannable, run_module
from daemon.images.confinement import Limits
from daemon.images.contents import ImageContents
from daemon.images.exploits import NOTHING_KNOWN, Exploits
from daemon.images.findings import Archive, SavedImage, ScannerStatus, ScanResult, Vulnerability
from daemon.images.layers import read_image
from daemon.images.osv.index import INDEX, DatabaseError, Ecosystem, Index
from daemon.images.scanners.stamp import stamp

WORKER = "daemon.images.osv.match_worker"
MAX_AGE = timedelta(days=7)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class BuiltinScanner:
    directory: Path
    max_age: timedelta = MAX_AGE
    exploits: Exploits = NOTHING_KNOWN
    clock: Callable[[], datetime] = now
    limits: Limits = field(default_factory=Limits)
    name: str = "builtin"

    async def scan(self, image: SavedImage) -> ScanResult:
        try:
            return await self.match(await read_image(image, self.limits), lambda: nullcontext(image))
        except Unscannable as error:
            return not_understood(self.name, str(error))

    async def status(self) -> ScannerStatus:
        try:
            oldest = min(item.modified for item in await beside(ecosystems, self.directory))
        except DatabaseError as error:
            return ScannerStatus(name=self.name, database=self.directory, database_problem=str(error))
        stale = "; ".join(staleness(oldest, self.max_age, self.clock())) or None
        return ScannerStatus(
            name=self.name, database=self.directory, database_time=oldest, database_problem=stale
        )

    def stamp(self) -> Hashable:
        return self.name, __version__, stamp(self.directory / INDEX)

    async def match(self, contents: ImageContents, archive: Archive) -> ScanResult:
        """Of what was read before: all that a new database needs."""
        lines = await beside(contents.to_lines)
        try:
            answer = await run_module(WORKER, [str(self.directory)], self.limits, stdin=lines)
        except Unscannable as error:
            return not_understood(self.name, str(error), packages=len(contents.packages))
        return await beside(self._result, contents, answer)

    def _result(self, contents: ImageContents, answer: bytes) -> ScanResult:
        matched, *found = map(json.loads, answer.splitlines())
        time = _database_time(matched)
        reasons = [*gaps(contents), *matched["problems"], *staleness(time, self.max_age, self.clock())]
        return ScanResult(
            scanner=self.name,
            database_time=time,
            understood=not reasons,
            unscannable_reason="; ".join(reasons[:5]) or None,
            vulnerabilities=tuple(self.exploits.mark(_vulnerability(item)) for item in found),
            packages=len(contents.packages),
        )


def ecosystems(directory: Path) -> list[Ecosystem]:
    """What is known. Raises DatabaseError where that is nothing."""
    index = Index(directory)
    try:
        return index.ecosystems()
    finally:
        index.close()


def not_understood(scanner: str, reason: str, packages: int = 0) -> ScanResult:
    return ScanResult(scanner=scanner, understood=False, unscannable_reason=reason, packages=packages)


def gaps(contents: ImageContents) -> list[str]:
    """What of an image tells nothing of its packages: no findings then mean nothing."""
    found = [f"unscannable part: {part}" for part in contents.unread]
    if not contents.packages:
        found.append("no package was found")
    if contents.os.known and not any(package.kind.of_os for package in contents.packages):
        found.append(f"no package of {contents.os.pretty_name or contents.os.id} was found")
    return found


def staleness(time: datetime | None, max_age: timedelta, now: datetime) -> list[str]:
    if time is None:
        return ["the age of the database is not known"]
    if time > now + timedelta(days=1):
        return [f"the database is of {time:%Y-%m-%d}, which is to come: set the clock"]
    if now - time > max_age:
        return [f"the database is of {time:%Y-%m-%d}, {(now - time).days} days old: update it"]
    return []


def _database_time(answer: dict[str, Any]) -> datetime | None:
    """The oldest of the archives that the image needs."""
    bases = {name.partition(":")[0] for name in answer["ecosystems"]}
    times = [datetime.fromisoformat(answer["database"][base]) for base in bases if base in answer["database"]]
    return min(times) if times and len(times) == len(bases) else None


def _vulnerability(item: dict[str, Any]) -> Vulnerability:
    return Vulnerability(**{**item, "severity": Severity(item["severity"]) if item["severity"] else None})

"""`python -m daemon.images.osv.match_worker LIMITS DIRECTORY <contents`: packages against the index.

Runs confined: versions come from an untrusted image, and are parsed by expressions of all kinds.
Proof that something was looked for is part of the answer: each ecosystem of the image must be in the index,
and a version before all others must be found affected in it by the very same comparison.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.images.confinement import CannotConfine, Limits, confine
from daemon.images.contents import ImageContents
from daemon.images.os_release import UNKNOWN
from daemon.images.osv.ecosystems import ecosystem, names, version_class
from daemon.images.osv.index import DatabaseError, Index
from daemon.images.osv.match import Incomparable, affected
from daemon.images.osv.severity import severity
from daemon.images.packages import Package
from daemon.images.packages.package import Kind

CANARIES = 50
CANARY_VERSIONS = ("0", "0.0.0", "0.0.1-r0")
VULNERABILITIES = 20_000


class Matching:
    def __init__(self, index: Index, contents: ImageContents) -> None:
        self._index = index
        self._contents = contents
        self.found: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.ecosystems: set[str] = set()

    def run(self) -> None:
        for package in self._contents.packages:
            name = ecosystem(package, self._contents.os)
            if name is None:
                self._problem(
                    f"no advisories are known for packages of {self._contents.os.id or 'this system'}"
                )
            elif len(self.found) >= VULNERABILITIES:
                self._problem(f"over {VULNERABILITIES} vulnerabilities: not all packages were looked up")
            else:
                self._package(package, name)
        for name in sorted(self.ecosystems):
            if not self._proven(name):
                self._problem(f"the database has no advisory of {name} that a canary hits: import {name}")

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _package(self, package: Package, name: str) -> None:
        self.ecosystems.add(name)
        _, version = package.advised
        purl = package.purl(self._contents.os)
        listed = (item for called in names(package, name) for item in self._index.advisories(name, called))
        for advisory in listed:
            try:
                hit, fixed = affected(advisory, name, version)
            except Incomparable as error:
                self._problem(f"{package.name[:80]!a}: {error}")
                return
            if hit:
                self.found.append(_found(advisory, package, fixed, purl))

    def _proven(self, name: str) -> bool:
        return any(_hit(advisory, name) for advisory in self._index.some(name, CANARIES))


def _hit(advisory: dict[str, Any], name: str) -> bool:
    for version in CANARY_VERSIONS:
        try:
            if affected(advisory, name, version)[0]:
                return True
        except Incomparable:
            continue
    return any(affected(advisory, name, str(version))[0] for version in (advisory.get("versions") or ())[:1])


def _found(advisory: dict[str, Any], package: Package, fixed: str | None, purl: str) -> dict[str, Any]:
    """A CVE number where there is one: other scanners and the catalogues of exploits speak of those."""
    names = [advisory["id"], *(advisory.get("upstream") or ()), *(advisory.get("aliases") or ())]
    cve = next((name for name in names if str(name).startswith("CVE-")), None)
    return {
        "id": str(cve or advisory["id"]),
        "package": package.name,
        "version": package.version,
        "fixed_version": fixed,
        "severity": severity(advisory),
        "source": str(advisory["id"]),
        "purl": purl,
        "title": str(advisory.get("summary", ""))[:500],
    }


def _match(index: Index, content: bytes) -> Iterator[dict[str, Any]]:
    """First what it was matched with, then each vulnerability."""
    matching = Matching(index, ImageContents.from_lines(content))
    matching.run()
    yield {
        "problems": matching.problems,
        "ecosystems": sorted(matching.ecosystems),
        "database": {item.name: item.modified.isoformat() for item in index.ecosystems()},
    }
    yield from matching.found


def main(limits: str, directory: str) -> None:
    """All modules and the database are opened before rights are given up: nobody may not reach them."""
    version_class("PyPI"), severity({"severity": [{"type": "CVSS_V3", "score": ""}]})
    Package(Kind.NPM, "a", "1").purl(UNKNOWN)
    try:
        index = Index(Path(directory))
        index.some("PyPI", 1)
        confine(Limits(**json.loads(limits)), sealed=True)
    except (DatabaseError, CannotConfine) as error:
        sys.exit(str(error))
    for line in _match(index, sys.stdin.buffer.read()):
        sys.stdout.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Grype's border: answers of the shape that it gives, since the program itself is not at hand.

The program is one that gives a recorded-shape answer: how it is called, confined and judged is real, that the
real one takes these arguments is not shown here.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.findings import Severity
from daemon.images.child import Unscannable
from daemon.images.findings import ScanResult
from daemon.images.scanners import grype
from daemon.images.scanners.grype import GrypeScanner
from daemon.images.scanners.program import Program
from tests.images.advisories import now
from tests.images.archives import debian, layer, save
from tests.images.programs import saying

pytestmark = pytest.mark.root


def match(kind: str = "deb", **advisory: Any) -> dict[str, Any]:
    return {
        "vulnerability": {
            "id": "CVE-2099-0001",
            "severity": "High",
            "namespace": "debian:distro:debian:12",
            "fix": {"versions": ["3.0.11-1"], "state": "fixed"},
            **advisory,
        },
        "relatedVulnerabilities": [],
        "matchDetails": [],
        "artifact": {"name": "openssl", "version": "3.0.1-1", "type": kind, "purl": "pkg:deb/debian/openssl"},
    }


def answer(*matches: dict[str, Any], age: timedelta = timedelta(0)) -> str:
    built = (now() - age).isoformat().replace("+00:00", "Z")
    descriptor = {
        "name": "grype",
        "version": "0.92.0",
        "db": {"status": {"schemaVersion": "v6.0.2", "built": built}},
    }
    return json.dumps({"matches": list(matches), "descriptor": descriptor, "source": {"type": "image"}})


async def scan(tmp_path: Path, said: str) -> ScanResult:
    (tmp_path / "db").mkdir()
    image = save(tmp_path / "image.tar", [layer(debian({"openssl": "3.0.1-1"}))])
    return await GrypeScanner(Program(saying(tmp_path, said)), tmp_path / "db").scan(image)


async def test_an_answer_is_read(tmp_path: Path) -> None:
    result = await scan(
        tmp_path, answer(match(knownExploited=[{"cve": "CVE-2099-0001"}], epss=[{"epss": 0.5}]))
    )
    assert result.understood, result.unscannable_reason
    (found,) = result.vulnerabilities
    assert (found.id, found.fixed_version, found.severity) == ("CVE-2099-0001", "3.0.11-1", Severity.HIGH)
    assert (found.exploited, found.epss) == (True, 0.5)


async def test_nothing_found_in_the_canary(tmp_path: Path) -> None:
    result = await scan(tmp_path, answer())
    assert not result.understood
    assert "does not know a vulnerable deb package" in (result.unscannable_reason or "")


async def test_an_old_database(tmp_path: Path) -> None:
    result = await scan(tmp_path, answer(match(), age=timedelta(days=30)))
    assert not result.understood
    assert "days old: update it" in (result.unscannable_reason or "")


@pytest.mark.parametrize("said", ["", "{}", '{"matches": [], "descriptor": {"name": "trivy", "db": {}}}'])
async def test_an_answer_of_another_shape(tmp_path: Path, said: str) -> None:
    result = await scan(tmp_path, said)
    assert not result.understood
    assert "none of its own" in (result.unscannable_reason or "")


def test_a_severity_that_is_not_known_is_none_and_a_related_cve_names_it() -> None:
    advisory = match(id="GHSA-x", severity="Unknown") | {"relatedVulnerabilities": [{"id": "CVE-2099-0009"}]}
    (found,) = grype.vulnerabilities(grype.parse(answer(advisory).encode()))
    assert (found.id, found.severity) == ("CVE-2099-0009", None)


def test_a_database_of_no_known_age() -> None:
    said = '{"matches": [], "descriptor": {"name": "grype", "db": {"built": "yesterday"}}}'
    assert grype.parse(said.encode()).built() is None
    with pytest.raises(Unscannable):
        grype.parse(b'{"matches": [], "descriptor": {"name": "grype"}}')

"""VEX: what excuses a vulnerability, what does not, and that a document is read whole or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ConfigError
from daemon.findings import Severity
from daemon.images.examination import Scan
from daemon.images.findings import ScanResult, Vulnerability
from daemon.images.gate import Gate
from daemon.images.judgement import Exemptions, judge_scan
from daemon.images.policy import FILE, VulnerabilityLimit, read_policy
from daemon.images.vex import FILE_BYTES, excused, read_vex
from daemon.sandbox.facts import ImageFacts
from daemon.sandbox.report import Threat
from tests.images.test_duties import Unread

NOW = datetime(2030, 6, 15, 12, tzinfo=UTC)
IMAGE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PURL = "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64&distro=debian-12"
FLAW = Vulnerability(
    id="CVE-1", package="zlib1g", version="1:1.2.13", severity=Severity.HIGH, purl=PURL, source="DSA-1"
)
RESULT = ScanResult(scanner="test", understood=True, database_time=NOW, vulnerabilities=(FLAW,), packages=1)
WHY = "vulnerable_code_not_present"


def statement(*products: Any, name: str = "CVE-1", **more: Any) -> dict[str, Any]:
    given = [{"@id": product} if isinstance(product, str) else product for product in products]
    said = {
        "vulnerability": {"name": name},
        "products": given,
        "status": "not_affected",
        "justification": WHY,
    }
    return {key: value for key, value in {**said, **more}.items() if value is not None}


def write(path: Path, *statements: dict[str, Any], **more: Any) -> Path:
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": "the tests",
        "timestamp": "2030-01-01T00:00:00Z",
        "version": 1,
        "statements": list(statements),
    }
    path.write_text(json.dumps(document | more))
    return path


def why(tmp_path: Path, *statements: dict[str, Any]) -> str | None:
    return excused((read_vex(write(tmp_path / "vex.json", *statements)),), FLAW, frozenset({IMAGE}))


@pytest.mark.parametrize(
    "product",
    [
        PURL,
        "pkg:deb/debian/zlib1g",
        "pkg:deb/debian/zlib1g@1:1.2.13",
        "pkg:deb/debian/zlib1g@1.2.13?epoch=1",
        {"@id": "https://example.org/zlib", "identifiers": {"purl": PURL}},
        f"registry.example/tool@{IMAGE}",
        f"pkg:oci/tool@{IMAGE.replace(':', '%3A')}?repository_url=registry.example/tool",
        {"hashes": {"sha-256": "a" * 64}},
        {"@id": IMAGE, "subcomponents": [{"@id": "pkg:deb/debian/zlib1g"}]},
    ],
)
def test_who_is_meant_is_excused(tmp_path: Path, product: Any) -> None:
    assert why(tmp_path, statement(product)) == WHY


@pytest.mark.parametrize(
    "product",
    [
        "pkg:deb/debian/zlib1g@1:1.2.12",
        "pkg:deb/debian/zlib1g@1.2.13",
        "pkg:deb/ubuntu/zlib1g",
        "pkg:apk/debian/zlib1g",
        "pkg:deb/debian/zlib1g-dev",
        "pkg:deb/debian/zlib1g@1:1.2.13?arch=arm64",
        f"registry.example/tool@{OTHER}",
        "pkg:oci/zlib1g",
        {"@id": IMAGE, "subcomponents": [{"@id": "pkg:deb/debian/bash"}]},
        {"@id": OTHER, "subcomponents": [{"@id": PURL}]},
    ],
)
def test_who_is_not_meant_is_not(tmp_path: Path, product: Any) -> None:
    assert why(tmp_path, statement(product)) is None


def test_statuses(tmp_path: Path) -> None:
    assert why(tmp_path, statement(PURL, status="fixed", justification=None)) == "fixed"
    assert why(tmp_path, statement("pkg:deb/debian/zlib1g", status="fixed")) is None  # in which version?
    assert why(tmp_path, statement(PURL, status="affected")) is None
    assert why(tmp_path, statement(PURL, status="under_investigation")) is None
    assert why(tmp_path, statement(PURL, justification=None, impact_statement="not in it")) == "not in it"


def test_the_newest_statement_decides(tmp_path: Path) -> None:
    old, new = "2029-01-01T00:00:00Z", "2030-05-01T02:00:00+02:00"
    affected = statement(PURL, status="affected", timestamp=new)
    assert why(tmp_path, affected, statement(PURL, timestamp=old)) is None
    assert why(tmp_path, statement(PURL, timestamp=new), statement(PURL, status="affected")) == WHY
    assert why(tmp_path, statement(PURL), statement(PURL, status="affected")) is None


def test_a_vulnerability_by_another_of_its_names(tmp_path: Path) -> None:
    assert why(tmp_path, statement(PURL, vulnerability={"name": "GHSA-x", "aliases": ["CVE-1"]})) == WHY
    assert why(tmp_path, statement(PURL, name="DSA-1")) == WHY
    assert why(tmp_path, statement(PURL, name="CVE-2")) is None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"@context": "https://example.org"}, "is not of OpenVEX"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2030-01-01T00:00:00"}, "timestamp"),
        ({"statements": []}, "statements"),
        ({"statements": [statement(PURL, justification=None)]}, "without a justification"),
        ({"statements": [statement(PURL, justification="because")]}, "justification"),
        ({"statements": [statement(PURL, status="fine")]}, "status"),
        ({"statements": [statement()]}, "products"),
        ({"statements": [statement("https://example.org/zlib")]}, "names no product"),
        ({"statements": [statement("pkg:nonsense")]}, "purl"),
        ({"statements": [statement({"hashes": {"sha-256": "A"}})]}, "sha-256"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "vex.json", **({"statements": [statement(PURL)]} | broken))
    with pytest.raises(ConfigError, match=message):
        read_vex(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b" " * (FILE_BYTES + 1)])
def test_what_is_no_document_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vex.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"vex\.json: (no OpenVEX|has over)"):
        read_vex(tmp_path / "vex.json")


def test_it_is_told_in_the_report(tmp_path: Path) -> None:
    vex = read_vex(write(tmp_path / "vex.json", statement(PURL)))
    limit = VulnerabilityLimit(max_severity=Severity.MEDIUM)
    exemptions = Exemptions(vex=(vex,), digests=frozenset({IMAGE}))
    (told,) = [one for one in judge_scan(limit, RESULT, exemptions, NOW) if isinstance(one, Threat)]
    assert told.id == "image.vulnerability.vex"
    assert told.reason.endswith("as VEX says: CVE-1 in zlib1g (vulnerable_code_not_present)")
    assert not told.severity.blocks


class Scanned(Unread):
    async def scan(self, image_id: str, max_age_s: float) -> Scan:
        return Scan(RESULT, NOW, final=True)


POLICY = """
[local]
images = ["*"]
why = "made on this host"
vulnerabilities = {{ max_severity = "medium" }}

[[vex]]
file = "{file}"
images = ["docker.io/team/**"]
expires = {expires}
why = "the team says what affects it"
"""


@pytest.mark.parametrize(
    ("asked", "days", "blocked"),
    [("team/tool:1", 0, False), ("team/tool:1", -1, True), ("elsewhere/tool:1", 0, True)],
)
async def test_a_document_speaks_of_the_images_it_may_until_its_day(
    tmp_path: Path, asked: str, days: int, blocked: bool
) -> None:
    file = write(tmp_path / "vex.json", statement(PURL))
    expires = NOW.date() + timedelta(days=days)
    (tmp_path / FILE).write_text(POLICY.format(file=file, expires=expires))
    gate = Gate(read_policy(tmp_path / FILE), Scanned(), clock=lambda: NOW)
    facts = ImageFacts(
        id=IMAGE, tags=(), digests=(), user="", env=(), entrypoint=(), cmd=(), volumes=(),
        healthcheck=False, size_bytes=1,
    )  # fmt: skip
    verdicts = await gate.judge(asked, "default", facts)
    assert ("image.vulnerability" in {one.id for one in verdicts}) == blocked


def test_a_policy_whose_document_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(POLICY.format(file=tmp_path / "gone.json", expires=NOW.date()))
    with pytest.raises(ConfigError, match=r"gone\.json: cannot be read"):
        read_policy(tmp_path / FILE)

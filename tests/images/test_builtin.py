"""The built-in scanner: what it finds, and that it never takes ignorance for a clean image."""

from __future__ import annotations

import itertools
import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.findings import Severity
from daemon.images import exploits
from daemon.images.findings import SavedImage, ScanResult
from daemon.images.layers import read_image
from daemon.images.osv import index, match_worker
from daemon.images.osv.match import Incomparable, affected
from daemon.images.scanners.builtin import BuiltinScanner
from tests.images.advisories import ADVISORIES, Advisory, now, osv_directory, osv_record, write_zip
from tests.images.archives import File, alpine, debian, layer, npm_package, python_package, rocky, save

pytestmark = pytest.mark.root
SOURCES = {"libssl3": "openssl (3.0.1-1)", "zlib1g": "zlib"}
VULNERABLE = [
    *debian({"libssl3": "3.0.1-1", "zlib1g": "1:1.2.13", "bash": "5.2.15-2+b7", "libc6": "2"}, SOURCES),
    python_package("Jinja2", "2.10"),
    npm_package("lodash", "4.17.4"),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = osv_directory(tmp_path / "osv")
    index.build(made)
    return made


def image(tmp_path: Path, *files: File) -> SavedImage:
    return save(tmp_path / "image.tar", [layer(files)])


def found(result: ScanResult) -> set[tuple[str, str, str | None]]:
    return {(item.id, item.package, item.fixed_version) for item in result.vulnerabilities}


async def test_what_is_installed_and_affected_is_found(tmp_path: Path, directory: Path) -> None:
    result = await BuiltinScanner(directory).scan(image(tmp_path, *VULNERABLE))
    assert (result.understood, result.unscannable_reason, result.packages) == (True, None, 6)
    assert found(result) == {
        ("CVE-2099-0001", "libssl3", "3.0.11-1"),
        ("CVE-2099-0002", "zlib1g", None),
        ("CVE-2099-0021", "jinja2", "2.10.1"),
        ("CVE-2099-0031", "lodash", "4.17.5"),
    }
    assert {item.severity for item in result.vulnerabilities} == {Severity.CRITICAL, Severity.HIGH}
    assert {item.purl for item in result.vulnerabilities} >= {
        "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64&distro=debian-12",
        "pkg:npm/lodash@4.17.4",
    }


async def test_a_clean_image_is_clean(tmp_path: Path, directory: Path) -> None:
    result = await BuiltinScanner(directory).scan(image(tmp_path, *alpine({"musl": "1.2.4-r2"})))
    assert (result.understood, result.vulnerabilities) == (True, ())


@pytest.mark.parametrize(
    ("system", "ecosystem", "called"),
    [("rocky", "Rocky Linux:9", "openssl"), ("almalinux", "AlmaLinux:9", "openssl-libs")],
)
async def test_rpm_packages_by_the_name_that_advisories_use(
    tmp_path: Path, system: str, ecosystem: str, called: str
) -> None:
    advisory = Advisory("CVE-2099-0051", ecosystem, called, "3.0.7-25.el9")
    index.build(osv_directory(tmp_path / "osv", (advisory,)))
    files = rocky(tmp_path, {"openssl-libs": ("3.0.7", "2.el9", "openssl")}, system)
    result = await BuiltinScanner(tmp_path / "osv").scan(image(tmp_path, *files))
    assert result.understood, result.unscannable_reason
    assert found(result) == {("CVE-2099-0051", "openssl-libs", "3.0.7-25.el9")}


async def test_a_severity_that_is_not_given_is_unknown(tmp_path: Path, directory: Path) -> None:
    result = await BuiltinScanner(directory).scan(image(tmp_path, *debian({"glibc": "2.36"})))
    (only,) = result.vulnerabilities
    assert only.severity is None


async def test_exploits_are_marked(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "kev.json").write_text(json.dumps({"vulnerabilities": [{"cveID": "CVE-2099-0001"}]}))
    (tmp_path / "epss.csv").write_text("#model_version:v1\ncve,epss,percentile\nCVE-2099-0001,0.9,0.99\n")
    known = exploits.load(tmp_path / "kev.json", tmp_path / "epss.csv")
    result = await BuiltinScanner(directory, exploits=known).scan(image(tmp_path, *debian({"openssl": "1"})))
    (only,) = result.vulnerabilities
    assert (only.exploited, only.epss) == (True, 0.9)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([File("bin/busybox", b"x")], "no package was found"),
        (debian({})[:2], "no package of Debian GNU/Linux 12"),
        (
            [File("etc/os-release", b"ID=nixos\n"), *debian({"a": "1"})[2:]],
            "no advisories are known for packages of nixos",
        ),
        (debian({"openssl": "not a version"}), "is no version of Debian:12"),
        (
            [*debian({"a": "1"}), File("var/lib/rpm/Packages", b"x")],
            "unscannable part: 'var/lib/rpm/Packages'",
        ),
        (
            [File("etc/os-release", b"ID=debian\nVERSION_ID=11\n"), *debian({"a": "1"})[2:]],
            "no advisory of Debian:11",
        ),
    ],
)
async def test_ignorance_is_not_a_clean_image(
    tmp_path: Path, directory: Path, files: list[File], reason: str
) -> None:
    result = await BuiltinScanner(directory).scan(image(tmp_path, *files))
    assert not result.understood
    assert reason in (result.unscannable_reason or "")


async def test_without_a_database(tmp_path: Path) -> None:
    result = await BuiltinScanner(tmp_path / "none").scan(image(tmp_path, *VULNERABLE))
    assert not result.understood
    assert "container-kit images db import" in (result.unscannable_reason or "")


async def test_an_old_database(tmp_path: Path) -> None:
    index.build(osv_directory(tmp_path / "osv", modified=now() - timedelta(days=30)))
    result = await BuiltinScanner(tmp_path / "osv").scan(image(tmp_path, *debian({"a": "1"})))
    assert not result.understood
    assert "30 days old: update it" in (result.unscannable_reason or "")


async def test_a_database_without_the_ecosystem(tmp_path: Path) -> None:
    index.build(osv_directory(tmp_path / "osv", ADVISORIES[4:]))
    result = await BuiltinScanner(tmp_path / "osv").scan(image(tmp_path, *VULNERABLE))
    assert not result.understood
    assert "no advisory of Debian:12" in (result.unscannable_reason or "")


async def test_advisories_that_no_version_hits_prove_nothing(tmp_path: Path) -> None:
    record = osv_record(ADVISORIES[0], now())
    record["affected"][0]["ranges"] = []
    write_zip(tmp_path / "osv/Debian/all.zip", [record])
    index.build(tmp_path / "osv")
    result = await BuiltinScanner(tmp_path / "osv").scan(image(tmp_path, *debian({"openssl": "1"})))
    assert not result.understood


async def test_too_many_to_list_are_not_cut_in_silence(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever puts enough of the harmless ones first hides the worst."""
    monkeypatch.setattr(match_worker, "VULNERABILITIES", 1)
    contents = await read_image(image(tmp_path, *VULNERABLE))
    matching = match_worker.Matching(index.Index(directory), contents)
    matching.run()
    assert matching.problems == ["over 1 vulnerabilities: not all packages were looked up"]


def test_withdrawn_advisories_are_passed_over(tmp_path: Path) -> None:
    record = osv_record(ADVISORIES[0], now()) | {"withdrawn": "2026-01-01T00:00:00Z"}
    write_zip(tmp_path / "Debian/all.zip", [record])
    index.build(tmp_path)
    assert index.Index(tmp_path).advisories("Debian:12", "openssl") == []


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_a_broken_archive_leaves_the_old_index(directory: Path, content: bytes) -> None:
    before = (directory / index.INDEX).read_bytes()
    (directory / "PyPI/all.zip").write_bytes(content)
    with pytest.raises(index.DatabaseError, match="fetch it again"):
        index.build(directory)
    assert (directory / index.INDEX).read_bytes() == before


@pytest.mark.parametrize(
    ("events", "version", "hit", "fixed"),
    [
        ([{"introduced": "0"}, {"fixed": "2"}], "1", True, "2"),
        ([{"introduced": "0"}, {"fixed": "2"}], "2", False, None),
        ([{"introduced": "0"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "4"}], "3.5", True, "4"),
        ([{"introduced": "3"}, {"fixed": "4"}, {"introduced": "0"}, {"fixed": "2"}], "2.5", False, None),
        ([{"introduced": "1"}, {"last_affected": "2"}], "2", True, None),
        ([{"introduced": "1"}, {"last_affected": "2"}], "2.0.1", False, None),
        ([{"introduced": "1"}], "0.9", False, None),
        ([{"introduced": "0"}, {"fixed": "rm -rf"}], "9", True, "rm -rf"),
    ],
)
def test_ranges(events: list[dict[str, str]], version: str, hit: bool, fixed: str | None) -> None:
    advisory = {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    got, fix = affected(advisory, "PyPI", version)
    assert got is hit
    if hit:
        assert fix == fixed


def test_debian_versions_compare_as_dpkg_does() -> None:
    parts = [
        "1.0",
        "1:1.0",
        "1.0-1",
        "1.0~rc1-1",
        "1.0+b1-1",
        "1.0-1+deb12u1",
        "1.0-1~bpo11+1",
        "1.0a",
        "10.0",
    ]
    for ours, bound in itertools.permutations(parts, 2):
        advisory = {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": bound}]}]}
        earlier = (
            subprocess.run(["dpkg", "--compare-versions", ours, "lt", bound], check=False).returncode == 0
        )
        assert affected(advisory, "Debian:12", ours)[0] is earlier, (ours, bound)


def test_an_own_version_that_cannot_be_compared_raises() -> None:
    with pytest.raises(Incomparable):
        affected({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}, "PyPI", "no version")

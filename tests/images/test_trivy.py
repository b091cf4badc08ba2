"""The real Trivy with databases of our own: it agrees with the built-in scanner, and no way of it to say
nothing is taken for a clean image."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.images.child import Unscannable
from daemon.images.findings import SavedImage, ScanResult
from daemon.images.osv import index
from daemon.images.scanners import trivy
from daemon.images.scanners.builtin import BuiltinScanner
from daemon.images.scanners.program import LIMITS, Program, copy, private_folder
from daemon.images.scanners.trivy import TrivyScanner
from tests.images.advisories import (
    ADVISORIES,
    bolt,
    now,
    osv_directory,
    trivy_database,
    write_metadata,
)
from tests.images.archives import File, alpine, debian, layer, npm_package, python_package, save, ubuntu
from tests.images.programs import saying, trivy_program

pytestmark = pytest.mark.root
OLD = now() - timedelta(days=2000)


@pytest.fixture(scope="module")
def binary() -> Path:
    return trivy_program()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return trivy_database(tmp_path / "db")


@pytest.fixture
def scanner(binary: Path, database: Path) -> TrivyScanner:
    return TrivyScanner(Program(binary), database)


def image(tmp_path: Path, *layers: list[File]) -> SavedImage:
    return save(tmp_path / "image.tar", [layer(files) for files in layers])


def found(result: ScanResult) -> set[tuple[object, ...]]:
    assert result.understood, result.unscannable_reason
    return {(v.id, v.package, v.version, v.fixed_version, v.severity) for v in result.vulnerabilities}


IMAGES = {
    "debian": [
        debian(
            {"libssl3": "3.0.1-1", "zlib1g": "1:1.2.13", "bash": "5.2.15-2+b7", "libc6": "2.36"},
            {"libssl3": "openssl (3.0.1-1)", "zlib1g": "zlib", "libc6": "glibc"},
        )
    ],
    "alpine": [
        alpine(
            {"libssl3": "3.1.3-r0", "musl": "1.2.4-r2", "musl-utils": "1.2.4-r1"},
            {"libssl3": "openssl", "musl-utils": "musl"},
        )
    ],
    "languages": [
        [*debian({"base-files": "1"}), python_package("Jinja2", "2.10"), npm_package("lodash", "4.17.4")]
    ],
    "removed above": [
        [*debian({"openssl": "3.0.1-1"}), python_package("Jinja2", "2.10")],
        [*debian({"openssl": "3.0.11-1"}), File("usr/lib/python3/dist-packages/.wh.Jinja2-2.10.dist-info")],
    ],
    "ubuntu": [ubuntu({"openssl": "3.0.2-0ubuntu1.10", "bash": "5"})],
    "clean": [debian({"openssl": "3.0.11-1", "bash": "5.2.15-2"})],
}
COUNTS = {"debian": 3, "alpine": 2, "languages": 2, "ubuntu": 1, "removed above": 0, "clean": 0}


@pytest.mark.parametrize("name", IMAGES)
async def test_both_scanners_agree(tmp_path: Path, scanner: TrivyScanner, name: str) -> None:
    index.build(osv_directory(tmp_path / "osv"))
    judged = image(tmp_path, *IMAGES[name])
    ours = await BuiltinScanner(tmp_path / "osv").scan(judged)
    theirs = await scanner.scan(judged)
    assert found(ours) == found(theirs)
    assert len(found(ours)) == COUNTS[name]
    assert ours.packages == theirs.packages


def refused(result: ScanResult, reason: str) -> None:
    assert not result.understood
    assert reason in (result.unscannable_reason or "")


async def test_no_system_recognized(tmp_path: Path, scanner: TrivyScanner) -> None:
    refused(await scanner.scan(image(tmp_path, [File("bin/busybox", b"x")])), "recognized no system")


async def test_a_stale_database(tmp_path: Path, scanner: TrivyScanner) -> None:
    write_metadata(scanner.database, OLD)
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), "days old: update it")


async def test_an_empty_database(tmp_path: Path, scanner: TrivyScanner) -> None:
    (scanner.database / "trivy.db").write_bytes(bolt({}))
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), "does not know a vulnerable deb package")


async def test_a_database_without_the_release(tmp_path: Path, scanner: TrivyScanner) -> None:
    trivy_database(scanner.database, ADVISORIES[4:])
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), "does not know a vulnerable deb package")


async def test_a_database_without_an_ecosystem(tmp_path: Path, scanner: TrivyScanner) -> None:
    trivy_database(scanner.database, ADVISORIES[:4])
    files = [*IMAGES["clean"][0], python_package("requests", "2")]
    refused(await scanner.scan(image(tmp_path, files)), "does not know a vulnerable pypi package")


async def test_no_database(tmp_path: Path, binary: Path) -> None:
    scanner = TrivyScanner(Program(binary), tmp_path / "none")
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), "cannot be read: No such file")


async def test_a_severity_that_is_not_known_is_none(tmp_path: Path, scanner: TrivyScanner) -> None:
    result = await scanner.scan(image(tmp_path, debian({"glibc": "2.36"})))
    assert [item.severity for item in result.vulnerabilities] == [None]


async def test_files_and_variables_that_silence_trivy_do_nothing(
    tmp_path: Path, scanner: TrivyScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".trivyignore").write_text("CVE-2099-0001\n")
    (tmp_path / "trivy.yaml").write_text("severity: [LOW]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIVY_SEVERITY", "LOW")
    monkeypatch.setenv("TRIVY_IGNOREFILE", str(tmp_path / ".trivyignore"))
    result = await scanner.scan(image(tmp_path, debian({"openssl": "3.0.1-1"})))
    assert {item.id for item in result.vulnerabilities} == {"CVE-2099-0001"}


async def test_a_scanner_gets_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tokens, no proxies, no engine, no settings: nothing that it could be told or tell."""
    for name in ("TRIVY_TOKEN", "DOCKER_HOST", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    program = Program(Path(shutil.which("busybox") or "busybox"))
    async with program.opened() as descriptor, private_folder() as folder:
        said = await program.run(descriptor, ["env"], folder)
    names = {line.partition("=")[0] for line in said.decode().splitlines()}
    assert names - {"LC_CTYPE"} == {"HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}


async def test_a_jar_makes_it_no_cleaner(tmp_path: Path, scanner: TrivyScanner) -> None:
    files = [*debian({"openssl": "3.0.11-1"}), File("opt/a.jar", b"PK\5\6" + bytes(18))]
    refused(await scanner.scan(image(tmp_path, files)), "trivy failed with 1")


async def test_a_database_that_was_scanned_with_is_unchanged(tmp_path: Path, scanner: TrivyScanner) -> None:
    before = (scanner.database / "trivy.db").read_bytes()
    for path in (*scanner.database.iterdir(), scanner.database):
        path.chmod(path.stat().st_mode & ~0o222)
    assert (await scanner.scan(image(tmp_path, IMAGES["clean"][0]))).understood
    assert (scanner.database / "trivy.db").read_bytes() == before


async def test_scans_at_once_do_not_wait_for_each_other(tmp_path: Path, scanner: TrivyScanner) -> None:
    judged = image(tmp_path, IMAGES["debian"][0])
    async with asyncio.TaskGroup() as tasks:
        scans = [tasks.create_task(scanner.scan(judged)) for _ in range(3)]
    assert [len(found(scan.result())) for scan in scans] == [3, 3, 3]


async def test_another_program_than_the_pinned_one_is_not_run(tmp_path: Path, scanner: TrivyScanner) -> None:
    pinned = hashlib.sha256(scanner.program.path.read_bytes()).hexdigest()
    good = TrivyScanner(Program(scanner.program.path, sha256=pinned), scanner.database)
    bad = TrivyScanner(Program(scanner.program.path, sha256="0" * 64), scanner.database)
    judged = image(tmp_path, IMAGES["clean"][0])
    assert (await good.scan(judged)).understood
    refused(await bad.scan(judged), "is not the program that the settings pin")


async def test_a_program_that_is_not_there(tmp_path: Path, database: Path) -> None:
    scanner = TrivyScanner(Program(tmp_path / "trivy"), database)
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), "install it, or name another scanner")


@pytest.mark.parametrize("version", ["0.69.4", "0.69.5", "0.69.6"])
async def test_versions_with_a_trojan_horse_are_not_used(
    tmp_path: Path, database: Path, version: str
) -> None:
    """A program that says it is one of them: what is run is decided before it sees an image."""
    fake = saying(tmp_path, f'{{"Version": "{version}"}}')
    refused(
        await TrivyScanner(Program(fake), database).scan(image(tmp_path, IMAGES["clean"][0])), "trojan horse"
    )


@pytest.mark.parametrize("said", ["", "[]", "no JSON", '{"SchemaVersion": 2}'])
async def test_an_answer_of_another_shape(tmp_path: Path, database: Path, said: str) -> None:
    fake = saying(tmp_path, said)
    refused(
        await TrivyScanner(Program(fake), database).scan(image(tmp_path, IMAGES["clean"][0])), "does not tell"
    )


CLEAN_ANSWER = json.dumps({"SchemaVersion": 2, "Metadata": {"OS": {"Family": "debian", "Name": "12.5"}}})


@pytest.mark.parametrize(
    ("said", "ends", "reason"),
    [
        (CLEAN_ANSWER, {"code": 1}, "saying failed with 1"),
        (CLEAN_ANSWER, {"sleep_s": 30}, "took more than 1 s"),
        (CLEAN_ANSWER, {}, "trivy read other layers"),
        ("", {}, "none of an image"),
        ('{"SchemaVersion": 2, "Metadata"', {}, "none of an image"),
    ],
)
async def test_neither_an_exit_status_nor_half_an_answer_is_proof(
    tmp_path: Path, database: Path, said: str, ends: dict[str, int], reason: str
) -> None:
    fake = saying(tmp_path, said, version='{"Version": "0.59.1"}', **ends)
    scanner = TrivyScanner(Program(fake, limits=replace(LIMITS, wall_s=1.0)), database)
    refused(await scanner.scan(image(tmp_path, IMAGES["clean"][0])), reason)


async def test_an_archive_that_trivy_cannot_read_is_asked_for_nowhere_else(
    tmp_path: Path, scanner: TrivyScanner
) -> None:
    """Left to itself it goes on to containerd, podman and the registry, and judges what it finds there."""
    (tmp_path / "image.tar").write_bytes(b"no archive")
    async with scanner.program.opened() as program, private_folder() as folder:
        await copy(scanner.database, folder / "db")
        with pytest.raises(Unscannable, match=r"trivy failed with 1: .* unable to open /proc/self/fd/"):
            await scanner._report(program, folder, SavedImage("sha256:0", tmp_path / "image.tar"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b'{"SchemaVersion": 3, "Metadata": {}}',
        b'{"SchemaVersion": 2}',
        b'{"SchemaVersion": 2, "Metadata": {}, "Results": [{"Vulnerabilities": [{}]}]}',
        b'{"bomFormat": "CycloneDX"}',
    ],
)
def test_what_is_no_report_is_refused(answer: bytes) -> None:
    with pytest.raises(Unscannable, match="none of an image"):
        trivy.parse(answer)

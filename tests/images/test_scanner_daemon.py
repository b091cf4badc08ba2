"""The scanner of the settings judges for a running daemon: the real Trivy, with databases that tests make."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daemon import PROFILES
from daemon.cli import main
from daemon.errors import ConfigError
from daemon.images.policy import FILE
from daemon.images.scanners.choice import check
from daemon.images.scanners.program import Program
from daemon.images.scanners.trivy import TrivyScanner
from tests.images.advisories import ADVISORIES, Advisory, now, trivy_database, write_metadata
from tests.images.archives import debian
from tests.images.local_registry import Images
from tests.images.programs import saying, telling, trivy_program
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]
LOCAL = f"container-kit-test/scanner-{os.getpid()}"
CVE = "CVE-2099-0001"
POLICY = """
[local]
images = ["*"]
why = "all that the tests make"
vulnerabilities = { max_severity = "medium", unknown_as = "high" }
"""


def settings(folder: Path, program: Path, sha256: str = "") -> str:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / FILE).write_text(POLICY)
    pin = sha256 or hashlib.sha256(program.read_bytes()).hexdigest()
    return (
        f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\n[images.scanner]\nname = "trivy"\n'
        f'program = "{program}"\nsha256 = "{pin}"\ndatabase = "{folder}/db"\n'
    )


@dataclass(frozen=True)
class Scanned:
    daemon: Daemon
    images: Images
    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "trivy"

    def made(self, tag: str, packages: dict[str, str]) -> str:
        self.images.local(f"{LOCAL}:{tag}", debian(packages))
        return f"{LOCAL}:{tag}"

    def report(self, name: str) -> Any:
        return self.daemon.request("POST", "/v1/images/check", {"image": name}).json()

    def threats(self, name: str) -> dict[str, str]:
        return {one["id"]: one["reason"] for one in self.report(name)["threats"]}

    def doctor(self) -> Any:
        items = self.daemon.request("GET", "/v1/doctor").json()["items"]
        return next(item for item in items if item["name"] == "image scanner")

    def command(self, *words: str) -> Result:
        environment = {
            "CONTAINER_KIT_SOCKET": str(self.daemon.socket),
            "CONTAINER_KIT_CONFIG": str(self.folder / "config.toml"),
        }
        return CliRunner().invoke(main, ["images", *words], env=environment)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    folder = tmp_path_factory.mktemp("scanner")
    shutil.copy(trivy_program(), folder / "trivy")
    trivy_database(folder / "db")
    images = Images()
    try:
        with daemon(folder, settings(folder, folder / "trivy")) as started:
            yield Scanned(started, images, folder)
    finally:
        images.close()


def test_it_judges_launches_and_the_report_says_who_with_what(scanned: Scanned) -> None:
    bad, good = scanned.made("bad", {"openssl": "3.0.1-1"}), scanned.made("good", {"openssl": "3.0.11-1"})
    reason = f"vulnerabilities above medium: {CVE} in openssl 3.0.1-1 (critical, fixed in 3.0.11-1)"
    assert scanned.daemon.run(bad, "true")["reasons"] == [reason]
    assert scanned.daemon.run(good, "echo", "ran")["stdout"] == "ran\n"
    version = scanned.doctor()["detail"]
    assert version.startswith("trivy 0.")
    assert version.endswith(f" with a database of {now():%Y-%m-%d}")
    for name in (bad, good):
        controls = {one["id"]: one["detail"] for one in scanned.report(name)["active_controls"]}
        assert controls["image.scanner"] == f"vulnerabilities were looked for by {version}"
    judged = scanned.daemon.request("POST", "/v1/validate", {"image": bad, "command": ["true"]}).json()
    assert judged["blocked"] is True
    assert CVE in json.dumps(judged["threats"])
    assert scanned.command("check", bad).exit_code == 1
    assert scanned.command("check", good).exit_code == 0


def test_findings_are_of_this_database_alone(scanned: Scanned) -> None:
    name = scanned.made("aging", {"openssl": "3.0.11-1", "zlib": "1.2.13"})
    try:
        assert "CVE-2099-0002" in scanned.threats(name)["image.vulnerability"]
        trivy_database(scanned.folder / "db", ADVISORIES[:1])
        assert "image.vulnerability" not in scanned.threats(name)
        newer = Advisory("CVE-2099-0300", "Debian:12", "zlib", "2.0")
        trivy_database(scanned.folder / "db", (*ADVISORIES[:1], newer))
        assert "CVE-2099-0300" in scanned.threats(name)["image.vulnerability"]
    finally:
        trivy_database(scanned.folder / "db")


def test_a_database_that_is_stale_or_gone_denies_and_everybody_says_so(scanned: Scanned) -> None:
    name = scanned.made("stale", {"openssl": "3.0.11-1"})
    assert scanned.threats(name).keys() == {"image.unchecked"}
    known = scanned.command("db", "status", "--json")
    assert (known.exit_code, json.loads(known.output)["scanner"]) == (0, "trivy")
    try:
        write_metadata(scanned.folder / "db", now() - timedelta(days=30))
        assert "30 days old: update it" in scanned.threats(name)["image.unscannable"]
        assert "30 days old" in scanned.doctor()["detail"]
        assert scanned.command("db", "status").exit_code == 1
        trivy_database(scanned.folder / "db")
        (scanned.folder / "db/trivy.db").chmod(0o666)
        assert "others than root may write to it" in scanned.threats(name)["image.unscannable"]
        assert "others than root may write to it" in scanned.doctor()["detail"]
        shutil.rmtree(scanned.folder / "db")
        assert "cannot be read: No such file" in scanned.threats(name)["image.unscannable"]
        assert f"{scanned.folder}/db cannot be read" in scanned.doctor()["detail"]
    finally:
        trivy_database(scanned.folder / "db")
    assert scanned.threats(name).keys() == {"image.unchecked"}


def test_advisories_that_nobody_would_read_are_not_brought(scanned: Scanned) -> None:
    done = scanned.command("db", "update", "--ecosystem", "Debian")
    assert done.exit_code == 125
    assert "the settings name trivy" in done.output


def test_another_program_in_its_place_judges_nothing(scanned: Scanned, tmp_path: Path) -> None:
    """Not even what the right one has judged before."""
    name = scanned.made("swapped", {"openssl": "3.0.11-1"})
    assert scanned.threats(name).keys() == {"image.unchecked"}
    away = scanned.program.rename(scanned.folder / "away")
    try:
        shutil.copy(saying(tmp_path, "{}", version='{"Version": "0.59.1"}'), scanned.program)
        assert "is not the program that the settings pin" in scanned.threats(name)["image.unscannable"]
        assert scanned.daemon.run(name, "true")["type"] == "/problems/execution-blocked"
        scanned.program.unlink()
        assert "install it, or name another scanner" in scanned.threats(name)["image.unscannable"]
        item = scanned.doctor()
        assert (item["ok"], item["required"]) == (False, False)
        assert "install it" in item["detail"]
    finally:
        away.rename(scanned.program)
    assert scanned.threats(name).keys() == {"image.unchecked"}


@contextmanager
def refused(folder: Path, text: str) -> Iterator[list[str]]:
    """Why the daemon does not start."""
    said: list[str] = []
    with pytest.raises(RuntimeError, match="the daemon ended with 78") as caught, daemon(folder, text):
        pass
    said.append(str(caught.value))
    yield said


def test_without_the_program_that_is_pinned_it_does_not_start(tmp_path: Path) -> None:
    good = saying(tmp_path, "{}", version='{"Version": "0.59.1"}')
    for text, why in {
        settings(tmp_path, tmp_path / "absent", "0" * 64): "No such file or directory: install it",
        settings(tmp_path, good, "0" * 64): "is not the program that the settings pin by its sha256",
        settings(tmp_path, good).replace("sha256", "#sha256"): "trivy needs sha256",
    }.items():
        with refused(tmp_path, text) as said:
            assert why in said[0]
    good.chmod(0o777)
    with refused(tmp_path, settings(tmp_path, good)) as said:
        assert "others than root may write to it" in said[0]


def test_where_nobody_cannot_come_to_its_folder_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under systemd without the drop-in."""
    (tmp_path / "closed").mkdir(mode=0o700)
    scanner = TrivyScanner(Program(saying(tmp_path, "{}", version='{"Version": "0.59.1"}')), tmp_path / "db")
    asyncio.run(check(scanner))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "closed"))
    with pytest.raises(ConfigError, match="nobody may not enter it: set TMPDIR"):
        asyncio.run(check(scanner))


def test_a_version_with_a_trojan_horse_does_not_start_it(tmp_path: Path) -> None:
    bad = saying(tmp_path, "{}", version='{"Version": "0.69.4"}')
    with refused(tmp_path, settings(tmp_path, bad)) as said:
        assert "trivy 0.69.4 was published with a trojan horse" in said[0]


def test_it_runs_as_nobody_without_network_and_with_nothing_of_the_daemons(tmp_path: Path) -> None:
    program = telling(tmp_path)
    trivy_database(tmp_path / "db")
    images = Images()
    name = f"{LOCAL}:told"
    try:
        images.local(name, debian({"openssl": "3.0.11-1"}))
        with daemon(tmp_path, settings(tmp_path, program)) as started:
            report = started.request("POST", "/v1/images/check", {"image": name}).json()
    finally:
        images.close()
    (said,) = [one["reason"] for one in report["threats"] if one["id"] == "image.unscannable"]
    assert "uid=65534 gid=65534 groups=0 cwd=/empty inet=1 unix=1 no_new_privileges=1" in said, said
    assert f"data={2 << 30} cpu=120 " in said
    names = said.partition("env=")[2].partition(", path=/nonexistent")[0].split(",")
    assert {*names} - {"LC_CTYPE"} == {"HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}

"""`container-kit images db` and `images sbom`."""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main
from daemon.images.osv.index import INDEX
from tests.images import imported
from tests.images.advisories import ADVISORIES, now, osv_directory


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["images", *map(str, arguments)])


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("layout", ["", "osv-scanner", "osv-scalibr"])
def test_import_and_status(tmp_path: Path, layout: str) -> None:
    osv_directory(tmp_path / "given" / layout)
    directory = tmp_path / "osv"
    done = run("db", "import", "--directory", directory, tmp_path / "given")
    assert done.exit_code == 0, done.output
    shown = run("db", "status", "--json", "--directory", directory)
    assert shown.exit_code == 0
    assert {row["ecosystem"]: row["advisories"] for row in json.loads(shown.output)} == {
        "Alpine": 2,
        "Debian": 4,
        "Ubuntu": 1,
        "PyPI": 1,
        "npm": 1,
    }


def test_import_keeps_what_it_does_not_replace(tmp_path: Path) -> None:
    directory = tmp_path / "osv"
    run("db", "import", "--directory", directory, osv_directory(tmp_path / "all"))
    run("db", "import", "--directory", directory, osv_directory(tmp_path / "some", ADVISORIES[:1]))
    shown = json.loads(run("db", "status", "--json", "--directory", directory).output)
    assert {row["ecosystem"]: row["advisories"] for row in shown}["Debian"] == 1
    assert len(shown) == 5


def test_a_broken_archive_changes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "osv"
    run("db", "import", "--directory", directory, osv_directory(tmp_path / "all"))
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    (tmp_path / "bad/Debian").mkdir(parents=True)
    (tmp_path / "bad/Debian/all.zip").write_bytes(b"no zip")
    done = run("db", "import", "--directory", directory, tmp_path / "bad")
    assert done.exit_code == 125
    assert "fetch it again" in done.output
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no advisories in it: fetch it again"),
        (b"{", "broken JSON: "),
        (b"[" * 50_000, "broken JSON: "),
        (b"[]", "holds something else than OSV advisories: fetch it again"),
        (b"{}", "holds something else than OSV advisories: fetch it again"),
    ],
    ids=["nothing", "half", "nested without end", "no object", "no advisory"],
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    (tmp_path / "bad/Debian").mkdir(parents=True)
    with ZipFile(tmp_path / "bad/Debian/all.zip", "w") as packed:
        if content is not None:
            packed.writestr("a.json", content)
    done = run("db", "import", "--directory", tmp_path / "osv", tmp_path / "bad")
    assert done.exit_code == 125
    assert done.output.startswith("container-kit: The advisories were not taken in\n")
    assert told in done.output
    assert not (tmp_path / "osv" / INDEX).exists()


def test_an_index_of_another_release_is_to_be_made_anew(tmp_path: Path) -> None:
    run("db", "import", "--directory", tmp_path / "osv", osv_directory(tmp_path / "given"))
    with closing(sqlite3.connect(tmp_path / "osv" / INDEX)) as database, database:
        database.execute("UPDATE meta SET format = format + 1")
    done = run("db", "status", "--directory", tmp_path / "osv")
    assert done.exit_code == 125
    assert "of another version: run `container-kit images db import`" in done.output


def test_settings_that_cannot_be_used_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_KIT_CONFIG", str(tmp_path / "none.toml"))
    done = run("db", "status")
    assert done.exit_code == 125
    assert f"The settings cannot be used\n  {tmp_path}/none.toml: no such file" in done.output


def test_status_of_an_old_or_missing_database(tmp_path: Path) -> None:
    given = osv_directory(tmp_path / "given", modified=now() - timedelta(days=30))
    run("db", "import", "--directory", tmp_path / "osv", given)
    assert run("db", "status", "--directory", tmp_path / "osv").exit_code == 1
    missing = run("db", "status", "--directory", tmp_path / "none")
    assert missing.exit_code == 125
    assert "images db import" in missing.output


def test_update_from_a_mirror(tmp_path: Path) -> None:
    osv_directory(tmp_path / "mirror")
    directory = tmp_path / "osv"
    with served(tmp_path / "mirror") as url:
        done = run("db", "update", "--directory", directory, "--url", url, "--ecosystem", "PyPI")
        assert done.exit_code == 0, done.output
        (tmp_path / "mirror/PyPI/all.zip").unlink()
        failed = run("db", "update", "--directory", directory, "--url", url)
    assert failed.exit_code == 125
    assert "404" in failed.output
    assert (directory / "PyPI/all.zip").exists()
    assert (directory / INDEX).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name what to fetch"),
        (["--ecosystem", "../x"], "No such ecosystem"),
        (["--ecosystem", "PyPI", "--url", "http://example.org"], "https:// only"),
        (["--ecosystem", "PyPI", "--url", "file:///etc"], "https:// only"),
    ],
)
def test_update_refuses(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("db", "update", "--directory", tmp_path / "osv", *arguments)
    assert done.exit_code == 125
    assert said in done.output


def test_import_of_a_folder_without_archives(tmp_path: Path) -> None:
    done = run("db", "import", "--directory", tmp_path / "osv", tmp_path)
    assert done.exit_code == 125
    assert "no <Ecosystem>/all.zip" in done.output


@pytest.mark.root
@pytest.mark.docker
def test_sbom_of_an_image_of_the_engine(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=debian\nVERSION_ID="12"\n')
    with imported(f"container-kit-test/sbom:{os.getpid()}", {"etc/os-release": release}) as tag:
        done = run("sbom", tag)
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    assert document["components"][0] == {
        "type": "operating-system",
        "bom-ref": "os",
        "name": "debian",
        "version": "12",
    }


@pytest.mark.docker
@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("container-kit-test/none:1", "image 'container-kit-test/none:1' is not on this host: "),
        ("no name", "no such image: no name: invalid reference format"),
    ],
)
def test_sbom_of_no_image(image: str, told: str) -> None:
    done = run("sbom", image)
    assert done.exit_code == 125
    assert done.output.startswith(f"container-kit: The image could not be saved\n  {told}")


def test_sbom_without_an_engine(tmp_path: Path) -> None:
    done = run("sbom", "--engine", tmp_path / "none.sock", "alpine")
    assert done.exit_code == 125
    assert f"no Docker Engine answers on {tmp_path}/none.sock: start it" in done.output

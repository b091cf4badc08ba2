"""The bill of materials is valid, and what was read of an image serves a new database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from daemon.images import layers
from daemon.images.contents import ImageContents
from daemon.images.os_release import OsRelease
from daemon.images.osv import index
from daemon.images.sbom import ContentsStore, cyclonedx
from daemon.images.scanners.builtin import BuiltinScanner
from tests.images.advisories import ADVISORIES, osv_directory
from tests.images.archives import debian, layer, npm_package, python_package, save

pytestmark = pytest.mark.root
ID = f"sha256:{'0' * 64}"


async def contents(folder: Path) -> ImageContents:
    system = debian({"libssl3": "3.0.1-1"}, {"libssl3": "openssl"})
    files = [*system, python_package("Jinja2", "2.10"), npm_package("@a/b", "1.0.0")]
    return await layers.read_image(save(folder / "image.tar", [layer(files)]))


async def test_it_is_valid_cyclonedx(tmp_path: Path) -> None:
    document = cyclonedx(await contents(tmp_path))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    purls = {component.get("purl") for component in document["components"]}
    assert purls == {
        None,
        "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12",
        "pkg:pypi/jinja2@2.10",
        "pkg:npm/%40a/b@1.0.0",
    }


def test_of_an_image_without_anything() -> None:
    document = cyclonedx(ImageContents(ID, OsRelease()))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


def no_archive() -> NoReturn:
    raise AssertionError("the image was saved once more")


async def test_a_new_database_needs_no_image(tmp_path: Path) -> None:
    store = ContentsStore(tmp_path / "contents")
    read = await contents(tmp_path)
    store.put(read)
    (tmp_path / "image.tar").unlink()
    found = []
    for advisories in (ADVISORIES[1:], ADVISORIES):
        index.build(osv_directory(tmp_path / "osv", advisories))
        stored = store.get(read.image_id)
        assert stored == read
        result = await BuiltinScanner(tmp_path / "osv").match(stored, no_archive)
        assert result.understood
        found.append({item.package for item in result.vulnerabilities})
    assert found == [{"jinja2"}, {"jinja2", "libssl3"}]  # advisories are of the source, openssl


def test_what_is_damaged_is_not_there(tmp_path: Path) -> None:
    store = ContentsStore(tmp_path)
    assert store.get(ID) is None
    store.put(ImageContents(ID))
    assert store.get(ID) == ImageContents(ID)
    (tmp_path / f"{'0' * 64}.json").write_text("{")
    assert store.get(ID) is None
    store.remove(ID)
    store.remove(ID)
    with pytest.raises(ValueError, match="is no image id"):
        store.get("sha256:../../etc/passwd")

"""A real daemon, whose engine has images that are made to harm it: it refuses them and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from daemon import PROFILES, __version__
from daemon.images.findings import SavedImage
from daemon.images.osv import index
from daemon.images.policy import FILE
from tests.images.advisories import ADVISORIES, osv_directory
from tests.images.engine_with import engine_with
from tests.images.hostile import HOSTILE, many_packages, many_setuid
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]
POLICY = """
[local]
images = ["*"]
why = "all that the tests make"
max_issue = "medium"
vulnerabilities = { max_severity = "medium", unknown_as = "high" }

[profiles.default]
prewarm = ["hostile/setuid:1", "hostile/gone:1"]
why = "launched most, so read before anybody asks"
"""
SMALL = ("claims", "leads-out", "broken-json", "deep-json")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SavedImage]:
    folder = tmp_path_factory.mktemp("hostile")
    made = {name: HOSTILE[name](folder) for name in SMALL}
    return made | {"packages": many_packages(folder, 3000), "setuid": many_setuid(folder, 3000)}


@pytest.fixture(scope="module")
def running(images: dict[str, SavedImage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("hostile-daemon")
    (folder / "profiles").mkdir()
    (folder / "profiles" / FILE).write_text(POLICY)
    with engine_with(folder, {f"hostile/{name}:1": image for name, image in images.items()}) as engine:
        settings = f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\nengine_socket = "{engine}"\n'
        with daemon(folder, settings) as started:
            index.build(osv_directory(started.state / "osv", ADVISORIES))
            yield started


def reasons(running: Daemon, name: str) -> dict[str, str]:
    report: Any = running.request("POST", "/v1/images/check", {"image": f"hostile/{name}:1"}).json()
    assert report["blocked"], report
    assert running.request("GET", "/healthz").status == 200
    return {one["id"]: one["reason"] for one in report["threats"]}


def test_what_the_policy_names_is_read_before_anybody_asks(
    running: Daemon, images: dict[str, SavedImage]
) -> None:
    name = images["setuid"].image_id.removeprefix("sha256:")
    read = running.state / "images" / __version__ / f"{name}.json"
    deadline_s = time.monotonic() + 30
    while not read.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert read.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("claims", "which claims 42949672960 bytes"),
        ("leads-out", "leads out of its folder"),
        ("broken-json", "has broken JSON"),
        ("deep-json", "has broken JSON"),
    ],
)
def test_it_is_refused_and_read_once(
    running: Daemon, images: dict[str, SavedImage], name: str, reason: str
) -> None:
    found = reasons(running, name)
    assert reason in found["image.unscannable"]
    assert reason in found["image.unread"]
    images[name].path.unlink()  # a second reading would find nothing
    assert reasons(running, name) == found


def test_as_many_vulnerabilities_as_packages_are_told_in_short(running: Daemon) -> None:
    reason = reasons(running, "packages")["image.vulnerability"]
    assert reason.endswith("; and 2980 more")


def test_as_many_issues_as_files_are_told_in_short(running: Daemon) -> None:
    assert "image.issue.accepted" in reasons(running, "setuid")

"""The wheel holds every file that the program needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from daemon import ROOT

FOLDERS = ("daemon", "detectors", "exporters", "profiles", "systemd")
INIT = "daemon/sandbox/init/container-kit-init"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return archive


def test_every_tracked_file_is_in_it(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {path for path in listed.stdout.split() if (ROOT / path).exists()}
    assert len(tracked) > 50
    assert tracked - set(wheel.namelist()) == set()


def test_the_init_is_in_it_and_executable(wheel: zipfile.ZipFile) -> None:
    assert wheel.getinfo(INIT).external_attr >> 16 & 0o111 == 0o111


def test_it_is_bound_to_its_platform(wheel: zipfile.ZipFile) -> None:
    assert Path(wheel.filename or "").name.endswith("x86_64.whl") or "aarch64" in str(wheel.filename)

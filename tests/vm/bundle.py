"""What the test machine, which has no network, is given: the program as a package, pytest, the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from daemon import ROOT

PYTHON = "3.11"  # the machine's
TESTS = ("__init__.py", "images/__init__.py", "running.py", "vm/__init__.py", "vm/guest")


def make_bundle(folder: Path) -> None:
    """Puts `container-kit.deb`, `pytest` and `tests` into it. Raises CalledProcessError."""
    shutil.copy(_package(), folder / "container-kit.deb")
    _download_pytest(folder / "pytest")
    for name in TESTS:
        _copy(ROOT / "tests" / name, folder / "tests" / name)


def _package() -> Path:
    """As `make deb` makes it: for the Python of this host, which must be the machine's."""
    made = subprocess.run([ROOT / "systemd/deb.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return ROOT / made.splitlines()[-1]


def _download_pytest(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    machine = ["--only-binary=:all:", f"--python-version={PYTHON}", "--target", str(folder)]
    subprocess.run([*pip, *machine, "pytest"], check=True)


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, destination)

"""The wheel holds every file that the program needs, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from daemon import ROOT, __version__
from daemon.sensors import bpf
from tests.sandbox.init_process import DEADLINE_S, go, waiting

FOLDERS = ("daemon", "detectors", "exporters", "profiles", "systemd")
INIT = "daemon/sandbox/init/container-kit-init"
BUILT = {INIT, *(str(path.relative_to(ROOT)) for path in bpf.OBJECTS)}


def tracked(*paths: str) -> set[str]:
    """As git has them: what is only on this machine is no part of the program."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {path for path in listed.split("\0") if path and (ROOT / path).is_file()}


def checkout(folder: Path, *left_out: str) -> Path:
    """A fresh clone, so to speak: without the binary and caches of this one, which stays as it is."""
    for path in tracked() - set(left_out):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    return folder


def build(source: Path, destination: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", destination, source]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = build(checkout(tmp_path_factory.mktemp("checkout")), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip puts it in place; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_it_holds_what_git_has_and_what_is_built(wheel: Path) -> None:
    assert contents(wheel) == tracked(*FOLDERS) | BUILT


@pytest.mark.parametrize(
    "pattern",
    [
        "profiles/*.toml",
        "profiles/images.toml",
        "profiles/seccomp/*.json",
        "profiles/apparmor/*",
        "systemd/*.service",
        "systemd/*.socket",
        "systemd/sysusers.d/*.conf",
        "systemd/tmpfiles.d/*.conf",
        "daemon/sandbox/init/init.c",
        "daemon/sensors/bpf/*.c",
        "daemon/sensors/bpf/*.h",
        "daemon/sensors/*.tsv",
        "daemon/**/*.py",
    ],
)
def test_every_kind_of_file_is_among_them(wheel: Path, pattern: str) -> None:
    """Against a rule of .gitignore that would hide them from git and from the wheel alike."""
    here = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert here & contents(wheel)
    assert here - contents(wheel) - _untracked(here) == set()


def _untracked(paths: set[str]) -> set[str]:
    """New files that git would take, but nobody has added yet."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return paths & set(listed.split("\0"))


def test_it_is_bound_to_its_platform(wheel: Path) -> None:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name == f"container_kit-{__version__}-py3-none-{platform}.whl"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"container_kit-{__version__}.dist-info/WHEEL").decode()
    assert "Root-Is-Purelib: false" in metadata


def test_the_installed_init_runs(installed: Path) -> None:
    program = installed / INIT
    assert program.stat().st_mode & 0o777 == 0o755
    with waiting(program, "echo", "ran", within=()) as process:
        go(process)
        assert process.communicate(timeout=DEADLINE_S)[0] == b"ran\n"
    assert process.returncode == 0


@pytest.mark.parametrize("command", ["container-kitd", "container-kit"])
def test_the_installed_commands_run(installed: Path, command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, installed / "bin" / command, "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
    )
    assert __version__ in done.stdout, done.stderr


def test_the_installed_program_finds_its_profiles(installed: Path, tmp_path: Path) -> None:
    program = (
        "from daemon import PROFILES, UNITS\n"
        "print(PROFILES, UNITS, sorted(path.name for path in PROFILES.glob('*.toml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
    )
    names = sorted(path.name for path in (ROOT / "profiles").glob("*.toml"))
    assert done.stdout.strip() == f"{installed}/profiles {installed}/systemd {names}"


@pytest.mark.parametrize("source", ["daemon/sandbox/init/init.c", "daemon/sensors/bpf/sensor.bpf.c"])
def test_without_a_source_there_is_no_wheel(source: str, tmp_path: Path) -> None:
    """Better none than one whose daemon cannot start, or cannot see."""
    (tmp_path / "wheel").mkdir()
    done = build(checkout(tmp_path / "source", source), tmp_path / "wheel")
    assert done.returncode != 0
    assert Path(source).name in done.stdout + done.stderr
    assert list((tmp_path / "wheel").iterdir()) == []

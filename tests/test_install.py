"""`make install` and `make deb`: what is put where, that it runs from there, and what a removal leaves."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from daemon import ROOT, __version__
from daemon.settings import Settings

PROGRAM = "opt/container-kit"
FILES = {
    "usr/lib/systemd/system/container-kitd.service",
    "usr/lib/systemd/system/container-kitd.socket",
    "usr/lib/sysusers.d/container-kit.conf",
    "usr/lib/tmpfiles.d/container-kit.conf",
    "etc/apparmor.d/container-kit-sandbox",
    "etc/container-kit/config.toml",
    "usr/local/share/container-kit/drop-ins/alert-commands.conf",
    "usr/local/share/container-kit/drop-ins/guarded-files.conf",
    "usr/local/share/doc/container-kit/copyright",
    "usr/local/share/bash-completion/completions/container-kit",
    "usr/local/share/zsh/site-functions/_container-kit",
    "usr/local/share/fish/vendor_completions.d/container-kit.fish",
}
LINKS = {
    "usr/local/bin/container-kit": "/opt/container-kit/bin/container-kit",
    "usr/local/sbin/container-kitd": "/opt/container-kit/bin/container-kitd",
}


def interpreter() -> str:
    """Debian's own, which the program is made for; this environment's where there is none that will do."""
    debians = "/usr/bin/python3"
    asked = "import sys; sys.exit(sys.version_info < (3, 11))"
    if Path(debians).exists() and subprocess.run([debians, "-c", asked], check=False).returncode == 0:
        return debians
    return str(Path(sys.base_prefix, "bin/python3"))


def make(target: str, **variables: Path | str) -> subprocess.CompletedProcess[str]:
    given = {"INTERPRETER": interpreter()} | {name: str(value) for name, value in variables.items()}
    command = ["make", "--silent", target, *(f"{name}={value}" for name, value in given.items())]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def done(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def placed(root: Path) -> set[str]:
    """Files and links outside the program's own folder."""
    paths = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(p.relative_to(root)) for p in paths if not p.is_relative_to(root / PROGRAM)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installed")
    done(make("install", DESTDIR=root))
    return root


def test_every_file_is_in_its_place_and_no_other(installed: Path) -> None:
    assert placed(installed) == FILES | LINKS.keys()
    assert {link: str((installed / link).readlink()) for link in LINKS} == LINKS


def test_nobody_but_its_owner_can_change_any_of_it(installed: Path) -> None:
    """And everybody can read it: the client is for all users."""
    for path in installed.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            continue
        if path.is_dir():
            assert mode == 0o755, path
        else:
            assert mode in {0o644, 0o755}, path
    for file in FILES:
        assert stat.S_IMODE((installed / file).stat().st_mode) == 0o644


@pytest.mark.parametrize("command", ["container-kit", "container-kitd"])
def test_the_program_starts_from_there(installed: Path, command: str, tmp_path: Path) -> None:
    """PYTHONPATH and the current folder have no say in what it imports."""
    (tmp_path / "daemon.py").write_text("raise SystemExit('not ours')")
    script = installed / PROGRAM / "bin" / command
    shown = done(
        subprocess.run(
            [installed / PROGRAM / "bin/python3", "-I", script, "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
        )
    )
    assert __version__ in shown
    assert script.read_text().startswith("#!/opt/container-kit/bin/python3 -I\n")


def test_its_commands_are_all_that_it_brings_besides_the_interpreter(installed: Path) -> None:
    names = {path.name for path in (installed / PROGRAM / "bin").iterdir()}
    assert {name for name in names if not name.startswith("python")} == {"container-kit", "container-kitd"}


def test_nothing_tells_where_it_was_built(installed: Path) -> None:
    listed = ["grep", "-rlF", "-e", str(installed), "-e", f"{ROOT}/", installed]
    assert subprocess.run(listed, capture_output=True, text=True, check=False).stdout == ""


def test_every_module_is_compiled(installed: Path) -> None:
    """The service sees its own files read-only: what is not compiled now is compiled anew at each start."""
    (packages,) = (installed / PROGRAM / "lib").glob("python3.*/site-packages")
    for module in (packages / "daemon").rglob("*.py"):
        assert list((module.parent / "__pycache__").glob(f"{module.stem}.*.pyc")), module


def test_the_settings_that_it_shows_are_the_defaults(installed: Path) -> None:
    """Each line that could be a setting becomes one; all of them are there."""
    text = (installed / "etc/container-kit/config.toml").read_text()
    assert tomllib.loads(text) == {}
    shown = "\n".join(line[1:] for line in text.splitlines() if line.startswith("#") and line[1:2] != " ")
    settings = tomllib.loads(shown)
    assert settings.keys() == Settings.model_fields.keys()
    del settings["profile_dirs"]  # the program's own folder has no name that an administrator could rely on
    assert Settings(**settings) == Settings()


def test_again_it_keeps_the_settings_and_replaces_the_rest(installed: Path) -> None:
    settings, stray = installed / "etc/container-kit/config.toml", installed / PROGRAM / "stray"
    before = settings.read_text()
    settings.write_text("debug = true\n")
    stray.touch()
    done(make("install", DESTDIR=installed))
    assert settings.read_text() == "debug = true\n"
    assert not stray.exists()
    assert placed(installed) == FILES | LINKS.keys()
    assert [path.name for path in (installed / "opt").iterdir()] == ["container-kit"]
    settings.write_text(before)


def test_a_build_that_fails_changes_nothing(installed: Path) -> None:
    before = placed(installed)
    refused = make("install", DESTDIR=installed, INTERPRETER="/bin/false")
    assert refused.returncode != 0
    assert "/bin/false is not Python 3.11 or newer" in refused.stderr
    assert placed(installed) == before
    assert (installed / PROGRAM / "bin/container-kitd").is_file()


@pytest.mark.parametrize("times", [1, 2])
def test_removed_it_leaves_settings_and_state(installed: Path, tmp_path: Path, times: int) -> None:
    root = shutil.copytree(installed, tmp_path / "root", symlinks=True)
    log = root / "var/lib/container-kit/audit/audit.jsonl"
    log.parent.mkdir(parents=True)
    log.touch()
    for _ in range(times):
        done(make("uninstall", DESTDIR=root))
    assert placed(root) == {"etc/container-kit/config.toml", "var/lib/container-kit/audit/audit.jsonl"}
    assert not (root / PROGRAM).exists()


@pytest.fixture(scope="module")
def package() -> Path:
    return ROOT / done(make("deb")).split()[-1]


def test_the_package_has_the_same_files_below_usr(package: Path) -> None:
    listed = done(subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=False))
    paths = {line.split()[5].removeprefix("./") for line in listed.splitlines() if line[0] != "d"}
    moved = {path.replace("usr/local/", "usr/") for path in FILES | LINKS.keys()}
    zsh = {"usr/share/zsh/site-functions/_container-kit": "usr/share/zsh/vendor-completions/_container-kit"}
    ours = {path for path in paths if not path.startswith(PROGRAM)}
    assert ours == {zsh.get(path, path) for path in moved}
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}


def test_the_package_says_what_it_needs(package: Path) -> None:
    shown = done(subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=False))
    fields = dict(line.split(": ", 1) for line in shown.splitlines() if not line.startswith(" "))
    assert (fields["Package"], fields["Version"]) == ("container-kit", __version__)
    (libraries,) = (ROOT / "build/deb" / PROGRAM / "lib").glob("python3.*")
    assert f"python3 (>= {libraries.name.removeprefix('python')})" in fields["Depends"]
    assert "docker.io (>= 20.10) | docker-ce" in fields["Depends"]


# A copy of this machine's files that dpkg may change: what is written goes to memory and is gone at the end.
COPY = """
set -eu
copy=$1; shift
mount -t tmpfs tmpfs "$copy"
mkdir "$copy"/upper "$copy"/work "$copy"/root
mount -t overlay -o lowerdir=/,upperdir="$copy"/upper,workdir="$copy"/work overlay "$copy"/root
mount -t proc proc "$copy"/root/proc
mount -t tmpfs tmpfs "$copy"/root/run
cp "$1" "$copy"/root/run/container-kit.deb
exec chroot "$copy"/root sh -euc "$2"
"""
LIFE = """
dpkg --force-depends -i /run/container-kit.deb 2>&1
dpkg --verify container-kit
getent group container-kit >/dev/null
stat -c '%a %U %n' /var/lib/container-kit /run/container-kit /etc/container-kit
container-kit --version; container-kitd --version
touch /var/lib/container-kit/evidence; echo 'debug = true' >/etc/container-kit/config.toml
dpkg --force-depends -i /run/container-kit.deb 2>&1
cat /etc/container-kit/config.toml
dpkg --force-depends -r container-kit 2>&1
ls -d /opt/container-kit /usr/bin/container-kit /usr/lib/systemd/system/container-kitd.* 2>/dev/null && exit 1
cat /etc/container-kit/config.toml
dpkg --force-depends -P container-kit 2>&1
ls -d /etc/container-kit/config.toml 2>/dev/null && exit 1
ls /var/lib/container-kit
"""


@pytest.mark.root
def test_the_package_is_installed_used_upgraded_removed_and_purged(package: Path, tmp_path: Path) -> None:
    command = ["unshare", "--mount", "--fork", "--pid", "sh", "-c", COPY, "sh", tmp_path, package, LIFE]
    lines = done(subprocess.run(command, capture_output=True, text=True, check=False)).splitlines()
    assert "700 root /var/lib/container-kit" in lines
    assert "755 root /run/container-kit" in lines
    assert f"container-kit, version {__version__}" in lines
    assert f"container-kitd, version {__version__}" in lines
    assert lines.count("debug = true") == 2  # after the upgrade, and after the removal
    assert lines[-1] == "evidence"

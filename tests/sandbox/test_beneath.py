"""No path leads out of the directory, whatever its owner puts there, and nothing there can make us wait."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sandbox.beneath import (
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    PathRefused,
    check_path,
    open_beneath,
    open_directory,
    open_entry,
    open_file,
    opened,
)

SECRET = b"of the host"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_bytes(b"content")
    return folder


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    with opened(os.open(tree, os.O_PATH | os.O_DIRECTORY)) as descriptor:
        yield descriptor


def names(directory: int) -> list[str]:
    with os.scandir(directory) as found:
        return sorted(entry.name for entry in found)


class TestCheckPath:
    @pytest.mark.parametrize(
        "path", ["a", "a/b", ".a", "..a", "a..", "...", "a b", "ä/ö", "a\nb", "-", "\udcff"]
    )
    def test_passes_plain_paths_unchanged(self, path: str) -> None:
        assert check_path(path) == path

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("", "empty"),
            ("/", "absolute"),
            ("/etc/passwd", "absolute"),
            ("//a", "absolute"),
            ("a\0b", "NUL"),
            (".", "part '.'"),
            ("..", "part '..'"),
            ("a/../b", "part '..'"),
            ("a/..", "part '..'"),
            ("./a", "part '.'"),
            ("a//b", "part ''"),
            ("a/", "part ''"),
            ("\ud800", "surrogate"),
        ],
    )
    def test_refuses(self, path: str, why: str) -> None:
        with pytest.raises(PathRefused, match=why):
            check_path(path)

    def test_counts_bytes_and_not_characters(self) -> None:
        assert check_path("ä" * 127)
        with pytest.raises(PathRefused, match=f"longer than {MAX_NAME_BYTES}"):
            check_path("ä" * 128)
        longest = "/".join(["a" * 255] * 15 + ["b" * 255])
        assert check_path(longest)
        with pytest.raises(PathRefused, match=f"longer than {MAX_PATH_BYTES - 1}"):
            check_path(longest + "b")

    @given(st.text())
    def test_what_passes_stays_below(self, path: str) -> None:
        try:
            check_path(path)
        except PathRefused:
            return
        assert os.path.normpath(f"/root/{path}") == f"/root/{path}"


class TestOpen:
    def test_a_file_and_a_directory(self, root: int) -> None:
        with opened(open_file(root, "a/b/file")) as file:
            assert os.read(file, 100) == b"content"
            assert not os.get_inheritable(file)
        with opened(open_directory(root, "a/b")) as directory:
            assert names(directory) == ["file"]
        with opened(open_directory(root, ".")) as directory:
            assert names(directory) == ["a"]

    def test_a_missing_file_is_named(self, root: int) -> None:
        with pytest.raises(FileNotFoundError, match="a/none"):
            open_file(root, "a/none")

    @pytest.mark.parametrize("path", ["..", "a/../../outside/secret", "/etc/passwd"])
    def test_the_kernel_refuses_what_the_check_would_have(self, root: int, outside: Path, path: str) -> None:
        assert outside.exists()
        with pytest.raises(PathRefused, match="leaves"):
            open_beneath(root, path, os.O_RDONLY)

    @pytest.mark.parametrize("target", ["/", "..", "../outside", "a", "/proc/self/root"])
    def test_no_link_on_the_way_or_at_the_end(
        self, root: int, tree: Path, outside: Path, target: str
    ) -> None:
        assert outside.exists()
        (tree / "link").symlink_to(target)
        for path in ("link", "link/secret", "link/b/file"):
            with pytest.raises(PathRefused, match="symbolic link"):
                open_file(root, path)
        with pytest.raises(PathRefused, match="symbolic link"):
            open_directory(root, "link")

    def test_no_magic_link(self) -> None:
        with opened(os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)) as root:
            for path in ("root", "cwd", "fd/0"):
                with pytest.raises(PathRefused, match="symbolic link"):
                    open_entry(root, path)

    @pytest.mark.root
    def test_no_other_mount(self, root: int, tree: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "a"], check=True)
        try:
            (tree / "a/file").write_bytes(SECRET)
            for path in ("a", "a/file"):
                with pytest.raises(PathRefused, match="leaves"):
                    open_entry(root, path)
        finally:
            subprocess.run(["umount", "--lazy", tree / "a"], check=True)

    def test_a_directory_is_no_file_and_a_file_no_directory(self, root: int) -> None:
        with pytest.raises(PathRefused, match="is a directory"):
            open_file(root, "a/b")
        for path in ("a/b/file", "a/b/file/x"):
            with pytest.raises(PathRefused, match="where a directory is needed"):
                open_directory(root, path)

    def test_a_hard_link_is_a_file(self, root: int, tree: Path) -> None:
        (tree / "other").hardlink_to(tree / "a/b/file")
        with opened(open_file(root, "other")) as file:
            assert os.read(file, 100) == b"content"


class TestNothingBlocks:
    def test_a_fifo(self, root: int, tree: Path) -> None:
        os.mkfifo(tree / "fifo")
        before = time.monotonic()
        with pytest.raises(PathRefused, match="FIFO"):
            open_file(root, "fifo")
        with pytest.raises(PathRefused, match="FIFO"):
            open_beneath(root, "fifo", os.O_WRONLY)
        assert time.monotonic() - before < 1

    def test_a_socket(self, root: int, tree: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tree / "socket"))
            with pytest.raises(PathRefused, match="socket"):
                open_file(root, "socket")

    @pytest.mark.root
    @pytest.mark.parametrize("options", ["nodev", "dev"])
    def test_a_device(self, tmp_path: Path, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], check=True)
        try:
            os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            with opened(os.open(tmp_path, os.O_PATH)) as root, pytest.raises(PathRefused, match="device"):
                open_file(root, "zero")
        finally:
            subprocess.run(["umount", "--lazy", tmp_path], check=True)

    def test_a_leased_file(self, root: int, tree: Path) -> None:
        before = time.monotonic()
        with (tree / "a/b/file").open("r+b") as holder:
            fcntl.fcntl(holder, fcntl.F_SETSIG, 23)  # SIGURG, ignored by default, in place of a deadly SIGIO
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            with pytest.raises(PathRefused, match="lease"):
                open_file(root, "a/b/file")
        assert time.monotonic() - before < 1  # where a blocking open waits 45 s


def test_descriptors_are_not_leaked(root: int, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("fifo", "a", "a/b/none"):
        with pytest.raises((PathRefused, FileNotFoundError)):
            open_file(root, path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before

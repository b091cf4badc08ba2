"""Files of a sandbox, before it runs, while it fights back and after it is gone."""

from __future__ import annotations

import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

from daemon.sandbox.archive import ArchiveRefused, Omitted, TarLimits
from daemon.sandbox.beneath import PathRefused, WorkspaceError, open_directory, open_file
from daemon.sandbox.workspace import TooLarge, Workspace, WorkspaceFull

pytestmark = pytest.mark.root

MIB = 1 << 20
UID, GID = 1000, 1001
IMAGE = f"container-kit-test/workspace:{os.getpid()}"
SECRET = b"of the host"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # also where a failed test still has it open


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    options = f"nosuid,nodev,size=8m,nr_inodes=100,mode=0700,uid={UID},gid={GID}"
    with mounted(tmp_path / "workspace", options) as folder:
        yield folder


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(os.getpid(), str(folder), UID, GID) as workspace:
        yield workspace


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tar_of(**files: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer


class TestOpen:
    def test_a_link_of_the_image_does_not_lead_to_the_host(self, tmp_path: Path, folder: Path) -> None:
        (tmp_path / "link").symlink_to(folder)
        with pytest.raises(PathRefused, match="symbolic link"):
            Workspace.open(os.getpid(), str(tmp_path / "link"), UID, GID)

    def test_a_directory_within_a_tmpfs(self, folder: Path) -> None:
        (folder / "inner").mkdir()
        with pytest.raises(WorkspaceError, match="no tmpfs of its own"):
            Workspace.open(os.getpid(), f"{folder}/inner", UID, GID)

    def test_a_directory_that_is_no_tmpfs(self) -> None:
        for path in ("/usr", "/proc"):  # on the root's file system; on another that is no tmpfs
            with pytest.raises(WorkspaceError, match="no tmpfs of its own"):
                Workspace.open(os.getpid(), path, UID, GID)

    def test_a_process_that_is_gone(self, folder: Path) -> None:
        process = subprocess.Popen(["/bin/true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(FileNotFoundError):
            Workspace.open(process.pid, str(folder), UID, GID)
        process.wait()

    def test_failures_leave_no_descriptor(self, folder: Path) -> None:
        before = descriptors()
        for path in ("/proc", "/none", f"{folder}/none"):
            with pytest.raises((WorkspaceError, FileNotFoundError)):
                Workspace.open(os.getpid(), path, UID, GID)
        assert descriptors() == before


class TestClose:
    def test_twice(self, folder: Path) -> None:
        workspace = Workspace.open(os.getpid(), str(folder), UID, GID)
        before = descriptors()
        workspace.close()
        workspace.close()
        assert descriptors() == before - 1

    def test_every_method_says_so(self, folder: Path) -> None:
        with Workspace.open(os.getpid(), str(folder), UID, GID) as workspace:
            pass
        calls: list[Callable[[], object]] = [
            lambda: workspace.write("f", b""),
            lambda: workspace.make_directory("d"),
            lambda: workspace.read("f", 1),
            workspace.list,
            workspace.usage,
            lambda: workspace.put_tar(tar_of(f=b"")),
            lambda: list(workspace.get_tar()),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="is closed"):
                call()

    def test_under_a_call_that_is_under_way(self, workspace: Workspace) -> None:
        workspace.write("f", b"x" * MIB)
        chunks = workspace.read_chunks("f", MIB)
        first = next(chunks)
        workspace.close()
        with Path("/dev/null").open("rb"):  # takes the number of the closed descriptor
            assert first + b"".join(chunks) == b"x" * MIB

    def test_between_two_steps_of_a_call(
        self, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another sandbox's directory may get the number of the closed descriptor."""
        decoy = tmp_path / "decoy"
        decoy.mkdir()
        (decoy / "f").write_bytes(SECRET)
        workspace.write("f", b"own")
        number = workspace._descriptor
        taken: list[int] = []

        def close_first(directory: int, path: str) -> int:
            workspace.close()
            while number not in taken:
                taken.append(os.open(decoy, os.O_PATH))
            return open_file(directory, path)

        monkeypatch.setattr("daemon.sandbox.workspace.open_file", close_first)
        try:
            assert workspace.read("f", 100) == b"own"
        finally:
            for descriptor in taken:
                os.close(descriptor)


class TestWrite:
    def test_content_owner_and_mode_whatever_the_umask(self, workspace: Workspace, folder: Path) -> None:
        before = os.umask(0o077)
        try:
            workspace.write("a/b/file", b"content", 0o6754)
        finally:
            os.umask(before)
        status = (folder / "a/b/file").stat()
        assert (folder / "a/b/file").read_bytes() == b"content"
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (UID, GID, 0o754)
        for directory in (folder / "a", folder / "a/b"):
            status = directory.stat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (UID, GID, 0o755)

    def test_chunks(self, workspace: Workspace) -> None:
        workspace.write("f", (b"x" * 1000 for _ in range(1000)))
        assert workspace.read("f", MIB) == b"x" * 1_000_000

    def test_a_program_that_makes_the_directory_first(
        self, workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        misses = 0

        def racing(directory: int, path: str) -> int:
            nonlocal misses
            try:
                return open_directory(directory, path)
            except FileNotFoundError:
                misses += 1
                if misses == 2:
                    (folder / "new").mkdir()
                raise

        monkeypatch.setattr("daemon.sandbox.workspace.open_directory", racing)
        workspace.write("new/f", b"x")
        assert (misses, workspace.read("new/f", 1)) == (2, b"x")

    def test_replaces_and_never_writes_into(self, workspace: Workspace, folder: Path) -> None:
        workspace.write("f", b"old")
        (folder / "linked").hardlink_to(folder / "f")
        with (folder / "f").open("rb") as held:
            workspace.write("f", b"new")
            assert held.read() == b"old"
        assert (folder / "linked").read_bytes() == b"old"
        assert workspace.read("f", 10) == b"new"

    def test_replaces_a_link_and_not_its_target(
        self, workspace: Workspace, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "canary").write_bytes(SECRET)
        (folder / "f").symlink_to(tmp_path / "canary")
        workspace.write("f", b"new")
        assert (tmp_path / "canary").read_bytes() == SECRET
        assert workspace.read("f", 10) == b"new"

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("link/f", "'link' has .* symbolic link"),
            ("link/new/f", "'link/new' .* symbolic link"),
            ("file/f", "'file' .* where a directory is needed"),
            ("directory", "'directory' is a directory"),
        ],
    )
    def test_refuses_and_leaves_nothing(
        self, workspace: Workspace, folder: Path, tmp_path: Path, path: str, why: str
    ) -> None:
        (tmp_path / "outside").mkdir()
        (folder / "link").symlink_to(tmp_path / "outside")
        (folder / "file").touch()
        (folder / "directory").mkdir()
        before = names(folder)
        with pytest.raises(PathRefused, match=why):
            workspace.write(path, b"x")
        assert names(folder) == before
        assert names(tmp_path / "outside") == []

    def test_a_full_workspace(self, workspace: Workspace, folder: Path) -> None:
        workspace.write("kept", b"before")
        before = workspace.usage()
        for content in (b"x" * 9 * MIB, (bytes(MIB) for _ in range(9))):
            with pytest.raises(WorkspaceFull, match="no space or inodes left for 'kept'"):
                workspace.write("kept", content)
        assert workspace.read("kept", 10) == b"before"
        assert names(folder) == ["kept"]
        assert workspace.usage() == before

    def test_no_inodes_left(self, workspace: Workspace) -> None:
        used = workspace.usage().used_inodes
        for number in range(100 - used):
            workspace.write(f"f{number}", b"")
        with pytest.raises(WorkspaceFull):
            workspace.write("one-more", b"")
        with pytest.raises(WorkspaceFull):
            workspace.make_directory("d")
        assert workspace.usage().used_inodes == workspace.usage().total_inodes == 100

    def test_a_content_that_fails_leaves_nothing(self, workspace: Workspace, folder: Path) -> None:
        def broken() -> Iterator[bytes]:
            yield b"x"
            raise ConnectionResetError("the client is gone")

        with pytest.raises(ConnectionResetError, match="the client is gone"):
            workspace.write("f", broken())
        assert names(folder) == []

    def test_deeper_than_the_interpreters_stack(self, tmp_path: Path) -> None:
        path = "/".join("d" * 2000)
        with (
            mounted(tmp_path / "deep", "size=1m,nr_inodes=3000") as folder,
            Workspace.open(os.getpid(), str(folder), UID, GID) as workspace,
        ):
            workspace.write(f"{path}/f", b"x")
            assert workspace.read(f"{path}/f", 1) == b"x"
            assert len(b"".join(workspace.get_tar())) > 2000 * 512


class TestRead:
    def test_limits(self, workspace: Workspace) -> None:
        workspace.write("f", b"x" * 600_000)
        assert workspace.read("f", 600_000) == b"x" * 600_000
        assert len(list(workspace.read_chunks("f", 600_000))) == 3
        for limit in (0, 1, 599_999):
            with pytest.raises(TooLarge, match=f"more than {limit} bytes"):
                workspace.read("f", limit)

    def test_a_sparse_file_of_exbibytes(self, workspace: Workspace, folder: Path) -> None:
        (folder / "huge").touch()
        os.truncate(folder / "huge", 1 << 60)
        with pytest.raises(TooLarge):
            workspace.read("huge", MIB)

    def test_an_empty_and_a_missing_file(self, workspace: Workspace) -> None:
        workspace.write("empty", b"")
        assert workspace.read("empty", 0) == b""
        with pytest.raises(FileNotFoundError, match="none"):
            workspace.read("none", 1)
        with pytest.raises(PathRefused, match="absolute"):
            workspace.read("/etc/passwd", 1)


class TestList:
    def test_kinds(self, workspace: Workspace, folder: Path) -> None:
        workspace.write("d/f", b"abc", 0o640)
        workspace.make_directory("d/sub", 0o711)
        (folder / "d/link").symlink_to("/etc/shadow")
        os.mkfifo(folder / "d/pipe")
        found = {entry.name: (entry.kind, entry.mode) for entry in workspace.list("d")}
        assert list(found) == ["f", "link", "pipe", "sub"]
        assert found["f"] == ("file", 0o640)
        assert found["sub"] == ("directory", 0o711)
        assert (found["link"][0], found["pipe"][0]) == ("symlink", "other")
        [entry] = workspace.list()
        assert (entry.name, entry.kind) == ("d", "directory")
        assert next(e.size_bytes for e in workspace.list("d") if e.name == "f") == 3

    def test_limit(self, workspace: Workspace) -> None:
        for name in "abc":
            workspace.write(name, b"")
        assert len(workspace.list(limit=3)) == 3
        with pytest.raises(TooLarge, match="more than 2 entries"):
            workspace.list(limit=2)

    def test_refusals(self, workspace: Workspace, folder: Path) -> None:
        (folder / "link").symlink_to("/etc")
        (folder / "file").touch()
        for path in ("link", "file", "..", "/etc", ""):
            with pytest.raises(PathRefused):
                workspace.list(path)
        with pytest.raises(FileNotFoundError):
            workspace.list("none")


class TestTar:
    def test_there_and_back(self, workspace: Workspace) -> None:
        assert workspace.put_tar(tar_of(in__a=b"1", in__b__c=b"2", top=b"3")) == 3
        assert workspace.read("in/b/c", 10) == b"2"
        with tarfile.open(fileobj=io.BytesIO(b"".join(workspace.get_tar()))) as tar:
            assert tar.getnames() == ["in", "in/a", "in/b", "in/b/c", "top"]
            assert {(m.uid, m.gid) for m in tar} == {(UID, GID)}

    def test_of_a_directory_and_of_a_file(self, workspace: Workspace) -> None:
        workspace.write("d/e/f", b"content")
        for path, names in (("d/e", ["f"]), ("d", ["e", "e/f"]), ("d/e/f", ["f"])):
            with tarfile.open(fileobj=io.BytesIO(b"".join(workspace.get_tar(path)))) as tar:
                assert tar.getnames() == names
        with pytest.raises(FileNotFoundError):
            list(workspace.get_tar("none"))

    def test_what_was_unpacked_before_an_error_stays(self, workspace: Workspace) -> None:
        stream = tar_of(a=b"1", b=b"22", c=b"3")
        with pytest.raises(ArchiveRefused, match="'b' has 2 bytes"):
            workspace.put_tar(stream, TarLimits(file_bytes=1))
        assert [entry.name for entry in workspace.list()] == ["a"]

    def test_below_a_folder(self, workspace: Workspace) -> None:
        assert workspace.put_tar(tar_of(a=b"1", d__b=b"2"), below="in/side") == 2
        assert workspace.read("in/side/d/b", 10) == b"2"
        for below in ("..", "/tmp", "in/..", ""):
            with pytest.raises(PathRefused):
                workspace.put_tar(tar_of(a=b"1"), below=below)

    def test_nothing_of_the_entry_that_was_cut_stays(self, workspace: Workspace) -> None:
        data = tar_of(a=b"1", b=b"x" * 10_000).getvalue()[:3000]
        with pytest.raises(ArchiveRefused, match="was cut"):
            workspace.put_tar(io.BytesIO(data))
        assert [entry.name for entry in workspace.list()] == ["a"]

    def test_a_name_that_comes_twice_and_a_file_over_a_directory(self, workspace: Workspace) -> None:
        first, second = tar_of(f=b"1").getvalue()[:1024], tar_of(f=b"2").getvalue()
        assert workspace.put_tar(io.BytesIO(first + second)) == 2
        assert workspace.read("f", 10) == b"2"
        with pytest.raises(PathRefused, match="where a directory is needed"):
            workspace.put_tar(tar_of(f__x=b""))

    def test_a_link_that_the_sandbox_laid(self, workspace: Workspace, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (folder / "in").symlink_to(tmp_path / "outside")
        with pytest.raises(PathRefused, match="symbolic link"):
            workspace.put_tar(tar_of(in__a=b"1"))
        omitted: list[Omitted] = []
        assert b"".join(workspace.get_tar(omitted=omitted)) == bytes(1024)
        assert [o.path for o in omitted] == ["in"]
        assert names(tmp_path / "outside") == []


SWAP = """
import ctypes, os, sys
os.chdir(sys.argv[1])
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
print("ready", flush=True)
while True:
    renameat2(-100, b"d", -100, b"link", 2)  # AT_FDCWD, RENAME_EXCHANGE
"""


@contextmanager
def swapping(folder: Path) -> Iterator[None]:
    """Another process makes `d` a directory and a link to the canary by turns, as fast as it can."""
    with subprocess.Popen([sys.executable, "-c", SWAP, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


class TestRace:
    """Each test goes on until it met the directory and the link often: a race not run proves nothing."""

    ROUNDS = 3000
    EACH = 100

    @pytest.fixture
    def canary(self, folder: Path, tmp_path: Path) -> Path:
        canary = tmp_path / "canary"
        canary.mkdir()
        (canary / "file").write_bytes(SECRET)
        (canary / "sub").mkdir()
        (folder / "d/sub").mkdir(parents=True)
        (folder / "d/file").write_bytes(b"of the sandbox")
        (folder / "link").symlink_to(canary)
        return canary

    def _race(self, folder: Path, canary: Path, attempt: Callable[[], object]) -> list[object]:
        before = _fingerprint(canary)
        results: list[object] = []
        rounds = refused = 0
        deadline = time.monotonic() + 60
        with swapping(folder):
            while rounds < self.ROUNDS or min(len(results), refused) < self.EACH:
                assert time.monotonic() < deadline
                rounds += 1
                try:
                    results.append(attempt())
                except PathRefused:
                    refused += 1
        assert _fingerprint(canary) == before
        return results

    def test_the_race_is_lost_without_protection(self, folder: Path, canary: Path) -> None:
        """The control: a check followed by an open, as it is often written, does reach the canary."""
        deadline = time.monotonic() + 60
        stolen = 0
        with swapping(folder):
            while not stolen:
                assert time.monotonic() < deadline
                if not (folder / "d").is_symlink():
                    stolen += (folder / "d/file").read_bytes() == SECRET

    def test_read(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        results = self._race(folder, canary, lambda: workspace.read("d/file", 100))
        assert set(results) == {b"of the sandbox"}

    def test_write(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        self._race(folder, canary, lambda: workspace.write("d/new", b"x", 0o600))
        real = folder / ("link" if (folder / "d").is_symlink() else "d")
        assert (real / "new").read_bytes() == b"x"

    def test_write_below_directories_to_make(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        def attempt() -> None:
            workspace.write("d/new/er/file", b"x")
            for path in (folder / "d", folder / "link"):
                if not path.is_symlink():
                    with suppress(FileNotFoundError, NotADirectoryError):
                        shutil.rmtree(path / "new")

        self._race(folder, canary, attempt)

    def test_list_and_make_directory(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        (canary / "sub").chmod(0o700)

        def attempt() -> tuple[str, ...]:
            workspace.make_directory("d/sub", 0o777)
            return tuple(entry.name for entry in workspace.list("d"))

        (canary / "only-here").touch()
        assert set(self._race(folder, canary, attempt)) == {("file", "sub")}

    def test_tar_in(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        data = tar_of(d__unpacked=b"1", d__sub__unpacked=b"2").getvalue()
        assert set(self._race(folder, canary, lambda: workspace.put_tar(io.BytesIO(data)))) == {2}

    def test_tar_out(self, workspace: Workspace, folder: Path, canary: Path) -> None:
        def attempt() -> bytes:
            data = b"".join(workspace.get_tar())
            assert SECRET not in data
            if b"of the sandbox" not in data:
                raise PathRefused("both names were links when they were met")
            return data

        assert self._race(folder, canary, attempt)


def _fingerprint(canary: Path) -> list[object]:
    """All but the access times."""
    found: list[object] = []
    for path in [canary, *sorted(canary.rglob("*"))]:
        status = path.stat()
        found.append(
            (path, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        )
    return [*found, (canary / "file").read_bytes()]


def test_threads_share_a_workspace(workspace: Workspace) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(200):
                workspace.write(f"{name}/f", b"%d" % number)
                assert workspace.read(f"{name}/f", 10) == b"%d" % number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_launch_path_is_fast(folder: Path) -> None:
    def once() -> float:
        start = time.perf_counter()
        workspace = Workspace.open(os.getpid(), str(folder), UID, GID)
        workspace.write("main.py", b"print('hello')\n")
        took_s = time.perf_counter() - start
        workspace.close()
        return took_s

    assert statistics.median(once() for _ in range(200)) < 0.001


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        gate = tarfile.TarInfo("go")
        gate.type = tarfile.FIFOTYPE
        tar.addfile(gate)
    client = docker.from_env()
    client.api.import_image_from_data(buffer.getvalue(), *IMAGE.split(":"))
    yield client
    client.images.remove(IMAGE, force=True)
    client.close()


Launch = Callable[[str], tuple[str, int]]


@pytest.fixture
def launch(client: docker.DockerClient) -> Iterator[Launch]:
    """Id and pid of a container whose program waits for a line in /go."""
    containers: list[str] = []

    def start(script: str) -> tuple[str, int]:
        options = f"rw,nosuid,nodev,noexec,size=64m,nr_inodes=1024,mode=0700,uid={UID},gid={GID}"
        host = client.api.create_host_config(tmpfs={"/workspace": options}, mem_limit=128 * MIB)
        command = ["/bin/busybox", "sh", "-c", f"read line </go; cd /workspace; {script}"]
        created = client.api.create_container(
            IMAGE, command, user=f"{UID}:{GID}", network_disabled=True, host_config=host
        )["Id"]
        containers.append(created)
        client.api.start(created)
        return created, client.api.inspect_container(created)["State"]["Pid"]

    yield start
    for container in containers:
        with suppress(docker.errors.NotFound):
            client.api.remove_container(container, force=True)


def go(pid: int) -> None:
    Path(f"/proc/{pid}/root/go").write_text("\n")


def shared_memory_bytes() -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["Shmem"].split()[0]) * 1024


@pytest.mark.docker
class TestContainer:
    def test_from_before_the_first_instruction_till_after_the_removal(
        self, client: docker.DockerClient, launch: Launch
    ) -> None:
        container, pid = launch(
            "/bin/busybox cat in/question > answer; /bin/busybox id -u >> answer; echo x > in/mine"
        )
        with Workspace.open(pid, "/workspace", UID, GID) as workspace:
            workspace.write("in/question", b"how?\n")
            go(pid)
            assert client.api.wait(container, timeout=10)["StatusCode"] == 0
            assert workspace.read("answer", 100) == b"how?\n%d\n" % UID
            client.api.remove_container(container)
            assert not Path(f"/proc/{pid}").exists()
            assert workspace.read("in/mine", 100) == b"x\n"
            workspace.write("late", b"still writable")
            assert [entry.name for entry in workspace.list()] == ["answer", "in", "late"]
            assert b"how?" in b"".join(workspace.get_tar())
            assert workspace.usage().total_bytes == 64 * MIB

    def test_memory_is_held_until_close(self, client: docker.DockerClient, launch: Launch) -> None:
        container, pid = launch("/bin/busybox dd if=/dev/zero of=big bs=1M count=60")
        workspace = Workspace.open(pid, "/workspace", UID, GID)
        go(pid)
        client.api.wait(container, timeout=10)
        client.api.remove_container(container)
        held_bytes = shared_memory_bytes()
        assert workspace.usage().used_bytes >= 60 * MIB
        workspace.close()
        deadline = time.monotonic() + 10
        while shared_memory_bytes() > held_bytes - 50 * MIB:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_what_fills_it_is_told_to_both_sides(self, client: docker.DockerClient, launch: Launch) -> None:
        container, pid = launch("/bin/busybox dd if=/dev/zero of=big bs=1M count=80")
        with Workspace.open(pid, "/workspace", UID, GID) as workspace:
            go(pid)
            assert client.api.wait(container, timeout=10)["StatusCode"] == 1
            with pytest.raises(WorkspaceFull):
                workspace.write("more", b"x" * MIB)

    def test_the_roots_file_system_is_no_workspace(self, launch: Launch) -> None:
        _, pid = launch("exit")
        with pytest.raises(WorkspaceError, match="no tmpfs of its own"):
            Workspace.open(pid, "/bin", UID, GID)

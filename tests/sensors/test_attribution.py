"""Which container a process is in, and what is remembered of its descent."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.events import Process
from daemon.sensors import genealogy
from daemon.sensors.attribution import HOST, age_s, container_in, container_of, ran_ns, read_proc, threads_of
from daemon.sensors.genealogy import Genealogy, Kin, child_of
from daemon.sensors.observation import UNKNOWN_FILE, is_privileged_by_file, observe
from daemon.sensors.statx import file_of_descriptor, status_of
from tests.sensors.conftest import Start
from tests.sensors.containers import SLEEP
from tests.zombies import exited_process

A, B = "a1" * 32, "b2" * 32


@pytest.mark.parametrize(
    ("membership", "container"),
    [
        (f"8:pids:/docker/{A}\n4:memory:/docker/{A}\n0::/\n", A),
        (f"8:pids:/\n4:memory:/container-kit/{A}\n", A),
        (f"0::/system.slice/docker-{A}.scope\n", A),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{A}.scope\n", A),
        (f"0::/machine.slice/libpod-{A}.scope/container\n", A),
        (f"0::/docker/{A}/docker/{B}\n", A),  # an engine inside
        (f"0::/docker/{A}/{B}\n", A),  # a name chosen by the workload
        (f"0::/{A}", A),
        (f"0::/machine.slice/libpod-conmon-{A}.scope\n", HOST),
        (f"0::/user.slice/x{A}\n", HOST),
        (f"0::/user.slice/{A}0\n", HOST),
        (f"0::/system.slice/docker-{A}.service\n", HOST),
        ("0::/system.slice/docker.service\n", HOST),
        ("0::/\n", HOST),
        ("", HOST),
    ],
)
def test_names_of_cgroups(membership: str, container: str) -> None:
    assert container_in(membership.encode()) == container


@given(st.binary())
def test_any_text_names_one_container_or_the_host(membership: bytes) -> None:
    assert len(container_in(membership)) in (0, 64)


def test_one_that_has_ended_is_not_of_the_host() -> None:
    assert container_of(os.getpid()) == HOST
    with exited_process() as pid:
        assert container_of(pid) is None
        assert observe(pid).file is UNKNOWN_FILE
        assert observe(pid).root is None
    assert container_of(pid) is None
    assert read_proc(pid, "stat") is None


@pytest.mark.root
@pytest.mark.docker
def test_a_container(start: Start) -> None:
    container = start(*SLEEP)
    pid = container.pid
    assert container_of(pid) == container.id
    seen = observe(pid)
    assert (seen.process.exe, seen.process.comm, seen.process.argv) == ("/bin/busybox", "sleep", ())
    assert seen.process.pid_ns != observe(os.getpid()).process.pid_ns
    assert seen.root == (seen.file.device, status_of(f"/proc/{pid}/root").inode)


def test_a_process_of_our_own() -> None:
    seen = observe(os.getpid(), arguments=True)
    assert seen.process.argv[0].encode() in Path("/proc/self/cmdline").read_bytes()
    assert seen.process.ppid == os.getppid()
    assert seen.process.uid == os.geteuid()
    assert seen.process.mnt_ns == Path("/proc/self/ns/mnt").stat().st_ino
    assert seen.file.inode == Path("/proc/self/exe").stat().st_ino
    assert not is_privileged_by_file(os.getpid())
    assert 0 < age_s(os.getpid()) < age_s(1) + 1


def test_how_long_a_process_has_run_stands_still_with_it() -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        time.sleep(0.2)
        still = [ran_ns(child.pid) for _ in range(3)]
        assert still[0] is not None
        assert len(set(still)) == 1
    finally:
        child.kill()
        child.wait()
    assert ran_ns(child.pid) is None


def test_it_is_not_known_of_one_with_threads() -> None:
    """The second could leave its container while the first rests."""
    code = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline_s = time.monotonic() + 10
        while len(threads_of(child.pid)) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert ran_ns(child.pid) is None
    finally:
        child.kill()
        child.wait()


def test_a_file_by_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff")
    path.write_text("")
    path.chmod(0o640)
    with path.open() as opened:
        file = file_of_descriptor(opened.fileno())
    facts = path.stat()
    assert (file.path, file.inode, file.mode) == (str(path), facts.st_ino, 0o640)
    assert file.device == os.major(facts.st_dev) << 20 | os.minor(facts.st_dev)
    assert file.changed_ns == facts.st_ctime_ns
    assert status_of("/dev/null").as_file("").node_device == 1 << 20 | 3


@pytest.mark.root
def test_memory_that_is_held_does_not_hold_the_reader(tmp_path: Path) -> None:
    """A page of the command line that a userfaultfd answers for, and nobody answers."""
    program = tmp_path / "faulting"
    source = Path(__file__).with_name("faulting.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    with subprocess.Popen([program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        try:
            if child.stdout.readline() != b"ready\n":
                pytest.skip("no userfaultfd here")
            before_s = time.monotonic()
            observe(child.pid, arguments=True)
            assert time.monotonic() - before_s < 0.5
        finally:
            child.kill()


@pytest.mark.root
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE here")
def test_a_file_system_that_does_not_answer_does_not_hold_the_reader(tmp_path: Path) -> None:
    """Its server, which a workload can be itself, has the mount and says nothing: stat(2) would hang."""
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"silent", os.fsencode(tmp_path), b"fuse", 0, options) == 0
    try:
        before_s = time.monotonic()
        assert status_of(str(tmp_path)).inode == 1
        assert time.monotonic() - before_s < 0.5
    finally:
        os.close(server)
        libc.umount2(os.fsencode(tmp_path), 2)


class TestGenealogy:
    def kin(self, pid: int, container: str = A, *, inside: bool = True) -> Kin:
        return Kin(container, Process(pid=pid, exe=f"/{pid}"), inside=inside)

    def test_descent(self) -> None:
        child = child_of(child_of(self.kin(1), 2), 3)
        assert (child.container, child.process.pid, child.process.ppid) == (A, 3, 2)
        assert (child.process.lineage, child.process.ancestors) == (("/1", "/1"), (2, 1))

    def test_a_runtime_is_no_ancestor(self) -> None:
        assert child_of(self.kin(1, inside=False), 2).process.lineage == ()

    def test_lineage_is_bounded(self) -> None:
        kin = self.kin(1)
        for pid in range(2, 100):
            kin = child_of(kin, pid)
        assert len(kin.process.lineage) == len(kin.process.ancestors) == genealogy.LINEAGE_LIMIT

    def test_it_is_bounded_and_the_oldest_goes(self) -> None:
        known = Genealogy(lambda container: None, limit=3)
        for pid in range(10):
            known.put(pid, self.kin(pid))
        assert known.pids() == [7, 8, 9]

    def test_the_last_of_a_container(self) -> None:
        empty: list[str] = []
        known = Genealogy(empty.append)
        for pid, container in ((1, A), (2, A), (3, B), (4, HOST)):
            known.put(pid, self.kin(pid, container))
        for pid in (1, 3, 4):
            known.ended(pid)
        assert empty == [B]
        known.ended(2)
        assert empty == [B, A]

    def test_those_that_ended_lately_are_remembered(self) -> None:
        known = Genealogy(lambda container: None)
        for pid in range(genealogy.ENDED_LIMIT + 1):
            known.put(pid, self.kin(pid))
            known.ended(pid)
        assert (known.origin(0), known.origin(1), known.origin(1 << 20)) == (None, A, None)
        known.put(1, self.kin(1, HOST))  # the pid is used again
        assert known.origin(1) == HOST

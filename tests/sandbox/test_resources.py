"""What the kernel counted of real sandboxes, how other layouts are read, and when a limit was hit."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import docker
import pytest

from daemon.sandbox import oom
from daemon.sandbox.cgroup import (
    UNLIMITED,
    Cgroup,
    CgroupGone,
    Directory,
    Limits,
    Usage,
    find_directories,
    parse_membership,
    parse_mountinfo,
)
from daemon.sandbox.oom import OomWatch, watch_oom
from daemon.sandbox.resources import (
    ExceededKind,
    NetworkBytes,
    Progress,
    exceeded,
    network_bytes,
    parse_net_dev,
    workspace_exceeded,
)
from tests.zombies import exited_process

MIB = 1 << 20
V1_MEMORY = Path("/sys/fs/cgroup/memory")
v1_alone = pytest.mark.skipif(
    not (V1_MEMORY / "cgroup.event_control").exists(),
    reason="cgroup v2 keeps a zombie where it was, and no count of what is removed",
)
IMAGE = f"container-kit-test/resources:{os.getpid()}"
ID = "4efd32e413d1"

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 master:2 - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MEMBERSHIP = f"""\
9:name=systemd:/docker/{ID}
8:pids:/docker/{ID}
7:blkio:/docker/{ID}
4:memory:/docker/{ID}
2:cpu,cpuacct:/docker/{ID}
"""
V2_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
)
V2_MEMBERSHIP = f"0::/system.slice/docker-{ID}.scope\n"


def find(mounts: str, membership: str) -> dict[str, tuple[int, str]]:
    found = find_directories(parse_mountinfo(mounts), parse_membership(membership))
    return {name: (directory.version, str(directory.path)) for name, directory in found.items()}


class TestLayouts:
    def test_v1_with_two_controllers_in_one_tree(self) -> None:
        assert find(V1_MOUNTS, V1_MEMBERSHIP) == {
            "cpu": (1, f"/sys/fs/cgroup/cpu,cpuacct/docker/{ID}"),
            "cpuacct": (1, f"/sys/fs/cgroup/cpu,cpuacct/docker/{ID}"),
            "memory": (1, f"/sys/fs/cgroup/memory/docker/{ID}"),
            "pids": (1, f"/sys/fs/cgroup/pids/docker/{ID}"),
            "io": (1, f"/sys/fs/cgroup/blkio/docker/{ID}"),
        }

    def test_hybrid_reads_bound_controllers_from_v1(self) -> None:
        found = find(V1_MOUNTS + UNIFIED_MOUNT, V1_MEMBERSHIP + f"0::/docker/{ID}\n")
        assert found == find(V1_MOUNTS, V1_MEMBERSHIP)

    def test_hybrid_reads_unbound_controllers_from_v2(self) -> None:
        membership = V1_MEMBERSHIP.replace(f"8:pids:/docker/{ID}\n", "") + f"0::/docker/{ID}\n"
        found = find(V1_MOUNTS + UNIFIED_MOUNT, membership)
        assert found["pids"] == (2, f"/sys/fs/cgroup/unified/docker/{ID}")
        assert found["memory"] == (1, f"/sys/fs/cgroup/memory/docker/{ID}")

    def test_v2_with_the_systemd_driver(self) -> None:
        path = f"/sys/fs/cgroup/system.slice/docker-{ID}.scope"
        assert set(find(V2_MOUNTS, V2_MEMBERSHIP).values()) == {(2, path)}

    def test_a_mount_that_shows_a_part_of_the_tree(self) -> None:
        mounts = V2_MOUNTS.replace(" / /sys/fs/cgroup ", " /system.slice /mnt/with\\040space ")
        assert find(mounts, V2_MEMBERSHIP)["memory"] == (2, f"/mnt/with space/docker-{ID}.scope")

    def test_a_colon_in_the_name_of_a_cgroup(self) -> None:
        assert parse_membership("0::/a.slice:docker:1\n") == {"": "/a.slice:docker:1"}

    @pytest.mark.parametrize("path", ["/system.slice2/x", "/../x", "/system.slice/../x"])
    def test_a_cgroup_that_is_not_below_the_mount(self, path: str) -> None:
        mounts = V2_MOUNTS.replace(" / /sys", " /system.slice /sys")
        with pytest.raises(LookupError, match="memory"):
            find(mounts, f"0::{path}\n")

    @pytest.mark.parametrize(
        "membership", ["0::/\n", "0::/docker/x (deleted)\n", "8:pids:/\n4:memory:/x\n1:cpu:/x\n"]
    )
    def test_a_process_that_left(self, membership: str) -> None:
        with pytest.raises(CgroupGone):
            find(V1_MOUNTS + UNIFIED_MOUNT, membership)


V2_FILES = {
    "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 5\nnr_throttled 2\nthrottled_usec 9\n",
    "cpu.max": "50000 100000\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "33554432\n",
    "memory.swap.max": "1048576\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 1\n",
    "pids.current": "6\n",
    "pids.peak": "11\n",
    "pids.max": "50\n",
    "pids.events": "max 13\n",
    "io.stat": "8:0 rbytes=100 wbytes=20 rios=1 dbytes=7\n259:0 rbytes=1 wbytes=2 rios=1\n",
}


@dataclass(frozen=True)
class FakeTree:
    """A procfs and a cgroup v2 mount made of plain files."""

    proc: Path
    cgroup: Path

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.cgroup / name.replace("__", ".")).write_text(text)

    def open(self) -> Cgroup:
        return Cgroup.of_pid(42, self.proc)


@pytest.fixture
def v2(tmp_path: Path) -> FakeTree:
    tree = FakeTree(tmp_path / "proc", tmp_path / "cgroup" / "system.slice" / f"docker-{ID}.scope")
    for folder in (tree.proc / "self", tree.proc / "42", tree.cgroup):
        folder.mkdir(parents=True)
    mounts = V2_MOUNTS.replace("/sys/fs/cgroup", str(tmp_path / "cgroup"))
    (tree.proc / "self" / "mountinfo").write_text(mounts)
    (tree.proc / "42" / "cgroup").write_text(V2_MEMBERSHIP)
    for name, text in V2_FILES.items():
        (tree.cgroup / name).write_text(text)
    return tree


class TestV2:
    def test_usage(self, v2: FakeTree) -> None:
        with v2.open() as cgroup:
            assert cgroup.usage() == Usage(
                cpu_ns=7000,
                periods=5,
                throttled_periods=2,
                throttled_ns=9000,
                memory_bytes=4096,
                memory_peak_bytes=8192,
                oom_kills=3,
                pids=6,
                pids_peak=11,
                pids_refused=13,
                io_read_bytes=101,
                io_write_bytes=22,
            )

    def test_limits(self, v2: FakeTree) -> None:
        with v2.open() as cgroup:
            assert cgroup.limits() == Limits(32 * MIB, 33 * MIB, 50_000, 100_000, 50)

    def test_no_limits(self, v2: FakeTree) -> None:
        v2.write(memory__max="max\n", cpu__max="max 100000\n", pids__max="max\n")
        with v2.open() as cgroup:
            assert cgroup.limits() == Limits(UNLIMITED, UNLIMITED, UNLIMITED, 100_000, UNLIMITED)

    def test_unlimited_swap_beside_limited_memory(self, v2: FakeTree) -> None:
        v2.write(memory__swap__max="max\n")
        with v2.open() as cgroup:
            assert cgroup.limits().memory_swap_bytes == UNLIMITED

    def test_swap_that_is_not_counted(self, v2: FakeTree) -> None:
        (v2.cgroup / "memory.swap.max").unlink()
        with v2.open() as cgroup:
            assert cgroup.limits().memory_swap_bytes is None

    def test_peaks_of_samples_where_the_kernel_keeps_none(self, v2: FakeTree) -> None:
        for name in ("memory.peak", "pids.peak"):
            (v2.cgroup / name).unlink()
        with v2.open() as cgroup:
            v2.write(memory__current="900\n", pids__current="20\n")
            cgroup.usage()
            v2.write(memory__current="50\n", pids__current="2\n")
            usage = cgroup.usage()
        assert (usage.memory_bytes, usage.memory_peak_bytes) == (50, 900)
        assert (usage.pids, usage.pids_peak) == (2, 20)

    def test_a_controller_that_is_not_enabled(self, v2: FakeTree) -> None:
        (v2.cgroup / "pids.events").unlink()
        with pytest.raises(LookupError, match="pids_refused"):
            v2.open()

    def test_a_cgroup_removed_before_it_was_opened(self, v2: FakeTree) -> None:
        shutil.rmtree(v2.cgroup)
        with pytest.raises(CgroupGone):
            v2.open()

    def test_no_descriptor_is_left(self, v2: FakeTree) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        v2.open().close()
        (v2.cgroup / "pids.events").unlink()
        with pytest.raises(LookupError):
            v2.open()
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_once_closed_it_reads_no_file_that_has_its_descriptors_now(self, v2: FakeTree) -> None:
        other = v2.cgroup.parent / "docker-other.scope"
        shutil.copytree(v2.cgroup, other)
        cgroup = v2.open()
        cgroup.close()
        beside = [(other / name).open() for name in V2_FILES]
        try:
            for read in (cgroup.usage, cgroup.cpu_ns):
                with pytest.raises(CgroupGone):
                    read()
        finally:
            for file in beside:
                file.close()

    def test_the_counter_of_all_beside_it(self, v2: FakeTree) -> None:
        with v2.open() as cgroup:
            assert cgroup.shared_cpu_time == v2.cgroup.parent / "cpu.stat"


@pytest.mark.root
def test_the_v2_watch_on_a_real_cgroup_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """cgroup.events polls as memory.events does, and every v2 mount has it, whatever its controllers."""
    monkeypatch.setattr(oom, "_OOM_KILL", re.compile(rb"^populated (\d+)$", re.MULTILINE))
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    unified = next((tree.mount_point for tree in mounts if tree.version == 2), None)
    if unified is None:
        pytest.skip("no cgroup v2 is mounted")
    folder = unified / f"container-kit-test-{os.getpid()}"
    folder.mkdir()
    try:
        watch = oom._FileWatch(folder / "cgroup.events")
        assert not readable(watch, timeout_s=0.02)
        with subprocess.Popen(["sleep", "60"]) as process:
            (folder / "cgroup.procs").write_text(str(process.pid))
            assert readable(watch)
            assert watch.killed() == 1
            assert not readable(watch, timeout_s=0.02)
            process.kill()
        assert readable(watch)
        assert watch.killed() == 0
    finally:
        folder.rmdir()
    assert watch.killed() == 0
    assert watch.settled
    assert not readable(watch, timeout_s=0.02)
    watch.close()


def readable(watch: OomWatch, timeout_s: float = 10) -> bool:
    return bool(select.select([watch], [], [], timeout_s)[0])


BEFORE = Usage(
    cpu_ns=0, memory_bytes=0, memory_peak_bytes=0, pids=1, pids_peak=1, pids_refused=2, oom_kills=1
)
LIMITS = Limits(32 * MIB, 32 * MIB, 50_000, 100_000, 50)


class TestExceeded:
    def test_nothing(self) -> None:
        assert exceeded(BEFORE, BEFORE, LIMITS) == []

    def test_memory(self) -> None:
        [hit] = exceeded(BEFORE, replace(BEFORE, oom_kills=2, memory_peak_bytes=32 * MIB), LIMITS)
        assert hit.message == "container killed: memory limit exceeded"
        assert (hit.kind, hit.limit, hit.used) == (ExceededKind.MEMORY, 32 * MIB, 32 * MIB)

    def test_pids(self) -> None:
        [hit] = exceeded(BEFORE, replace(BEFORE, pids_refused=5, pids_peak=50), LIMITS)
        assert (hit.kind, hit.limit, hit.used) == (ExceededKind.PIDS, 50, 50)
        assert "3 new processes" in hit.message

    def test_cpu(self) -> None:
        [hit] = exceeded(BEFORE, replace(BEFORE, periods=100, throttled_periods=90, cpu_ns=5 * 10**9), LIMITS)
        assert (hit.kind, hit.limit, hit.used) == (ExceededKind.CPU, 500, 500)

    @pytest.mark.parametrize(("periods", "throttled"), [(99, 99), (100, 89), (0, 0)])
    def test_throttling_that_is_short_or_slight(self, periods: int, throttled: int) -> None:
        assert exceeded(BEFORE, replace(BEFORE, periods=periods, throttled_periods=throttled), LIMITS) == []

    def test_several_at_once(self) -> None:
        after = replace(BEFORE, oom_kills=2, pids_refused=3, periods=200, throttled_periods=200)
        kinds = [hit.kind for hit in exceeded(BEFORE, after, LIMITS)]
        assert kinds == [ExceededKind.MEMORY, ExceededKind.PIDS, ExceededKind.CPU]


class TestProgress:
    @staticmethod
    def hits(*samples: tuple[int, int]) -> list[int]:
        """At which of the samples, of periods and throttled periods, the CPU limit counts as reached."""
        progress = Progress(BEFORE)
        found = [
            progress.exceeded(replace(BEFORE, periods=periods, throttled_periods=throttled), LIMITS)
            for periods, throttled in samples
        ]
        return [at for at, hits in enumerate(found) if [hit.kind for hit in hits] == [ExceededKind.CPU]]

    def test_any_ten_seconds_count(self) -> None:
        held_up, held = 40, 100
        samples = [(at, max(0, at - held_up)) for at in range(5, held_up + held + 1, 5)]
        (first,) = self.hits(*samples)
        assert samples[first] == (130, 90)

    def test_again_after_ten_more(self) -> None:
        samples = [(at, at) for at in range(5, 301, 5)]
        assert [samples[hit][0] for hit in self.hits(*samples)] == [100, 200, 300]

    def test_less_than_nine_in_ten_never(self) -> None:
        assert self.hits(*((at, at * 8 // 10) for at in range(1, 1000))) == []

    def test_what_it_keeps_is_bounded(self) -> None:
        progress = Progress(BEFORE)
        for at in range(10_000):
            progress.exceeded(replace(BEFORE, periods=at), replace(LIMITS, cpu_period_us=1000))
        assert len(progress._marks) <= 22


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "fill", "message"),
    [
        ("size=64k", lambda folder: (folder / "big").write_bytes(bytes(65536)), "no space left"),
        ("size=64k,nr_inodes=2", lambda folder: (folder / "file").touch(), "too many files"),
    ],
)
def test_a_full_workspace(tmp_path: Path, options: str, fill: Callable[[Path], object], message: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], check=True)
    try:
        assert workspace_exceeded(os.statvfs(tmp_path)) == []
        fill(tmp_path)
        [hit] = workspace_exceeded(os.statvfs(tmp_path))
        assert (hit.kind, hit.limit) == (ExceededKind.WORKSPACE, 65536)
        assert message in hit.message
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.root
def test_a_workspace_without_limit_is_never_full(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=0,nr_inodes=0", "tmpfs", tmp_path], check=True)
    try:
        assert workspace_exceeded(os.statvfs(tmp_path)) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


class TestNetwork:
    def test_all_interfaces_but_loopback(self) -> None:
        text = (
            "Inter-|   Receive                    |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
            "    lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n"
            "  eth0:1000 1 0 0 0 0 0 0  70 1 0 0 0 0 0 0\n"
            "veth1a: 200 1 0 0 0 0 0 0   7 1 0 0 0 0 0 0\n"
        )
        assert parse_net_dev(text) == NetworkBytes(rx=1200, tx=77)

    def test_of_a_process_that_exited(self) -> None:
        with exited_process() as pid, pytest.raises(ProcessLookupError):
            network_bytes(pid)

    def test_reads_the_kernels_table(self) -> None:
        before = network_bytes(os.getpid())
        after = network_bytes(os.getpid())
        assert after.rx >= before.rx >= 0
        assert after.tx >= before.tx >= 0


@v1_alone
def test_an_exited_process_is_not_read_as_the_whole_host() -> None:
    with exited_process() as pid, pytest.raises(CgroupGone):
        Cgroup.of_pid(pid)


@dataclass(frozen=True)
class Sandbox:
    """A container whose program waits for `start()`."""

    client: docker.DockerClient
    id: str
    pid: int
    pidfd: int

    def start(self) -> None:
        Path(f"/proc/{self.pid}/root/go").write_text("\n")

    def wait_for_exit(self) -> None:
        assert select.select([self.pidfd], [], [], 10)[0]

    def state(self) -> dict[str, object]:
        self.client.api.wait(self.id, timeout=10)
        state: dict[str, object] = self.client.api.inspect_container(self.id)["State"]
        return state


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


Launch = Callable[[str], Sandbox]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox-static")
    client = docker.from_env()
    client.api.import_image_from_data(archive(Path(busybox)), *IMAGE.split(":"))
    yield client
    client.images.remove(IMAGE, force=True)
    client.close()


def archive(busybox: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, busybox.stat().st_size
        tar.addfile(program, io.BytesIO(busybox.read_bytes()))
        gate = tarfile.TarInfo("go")
        gate.type = tarfile.FIFOTYPE
        tar.addfile(gate)
    return buffer.getvalue()


@pytest.fixture
def launch(client: docker.DockerClient) -> Iterator[Launch]:
    sandboxes: list[Sandbox] = []

    def start(script: str) -> Sandbox:
        sandbox = create(client, script)
        sandboxes.append(sandbox)
        return sandbox

    yield start
    for sandbox in sandboxes:
        os.close(sandbox.pidfd)
        client.api.remove_container(sandbox.id, force=True)


def create(client: docker.DockerClient, script: str) -> Sandbox:
    host = client.api.create_host_config(
        mem_limit=32 * MIB,
        memswap_limit=32 * MIB,
        pids_limit=50,
        cpu_period=100_000,
        cpu_quota=50_000,
    )
    command = ["/bin/busybox", "sh", "-c", f"read line </go; {script}"]
    created = client.api.create_container(IMAGE, command, network_disabled=True, host_config=host)["Id"]
    client.api.start(created)
    pid = client.api.inspect_container(created)["State"]["Pid"]
    return Sandbox(client, created, pid, os.pidfd_open(pid))


BOMB = "dd if=/dev/zero of=/dev/null bs=200M count=1"
FORK_BOMB = "for i in 1 2 3 4 5 6 7 8 9; do (b() { b | b & }; b) & done"
SPIN = "while :; do :; done"


@pytest.mark.root
@pytest.mark.docker
class TestRealSandbox:
    def test_limits_are_those_asked_for(self, launch: Launch) -> None:
        with Cgroup.of_pid(launch("exit").pid) as cgroup:
            limits = cgroup.limits()
        assert replace(limits, memory_swap_bytes=32 * MIB) == LIMITS
        assert limits.memory_swap_bytes in (None, 32 * MIB)

    def test_cpu_time_and_throttling(self, launch: Launch) -> None:
        sandbox = launch(SPIN)
        with Cgroup.of_pid(sandbox.pid) as cgroup:
            before, begin_ns = cgroup.usage(), time.monotonic_ns()
            sandbox.start()
            wait_until(lambda: cgroup.usage().throttled_ns > before.throttled_ns)
            after, elapsed_ns = cgroup.usage(), time.monotonic_ns() - begin_ns
        # Half a core, by periods of 0.1 s: one may have begun before, and one just now.
        assert 0 < after.cpu_ns - before.cpu_ns < elapsed_ns / 2 + 100_000_000
        assert after.throttled_ns > before.throttled_ns
        assert after.periods >= after.throttled_periods > before.throttled_periods
        assert after.oom_kills == after.pids_refused == 0

    def test_memory_and_its_peak(self, launch: Launch) -> None:
        sandbox = launch("dd if=/dev/zero of=/dev/null bs=16M count=1; exec sleep 60")
        with Cgroup.of_pid(sandbox.pid) as cgroup:
            sandbox.start()
            wait_until(lambda: cgroup.usage().memory_peak_bytes >= 16 * MIB and cgroup.usage().pids == 1)
            usage = cgroup.usage()
        assert usage.memory_bytes < 16 * MIB <= usage.memory_peak_bytes <= 32 * MIB
        assert usage.pids_peak >= 2

    def test_refused_processes(self, launch: Launch) -> None:
        sandbox = launch(f"({FORK_BOMB}); exec sleep 60")
        with Cgroup.of_pid(sandbox.pid) as cgroup:
            before = cgroup.usage()
            sandbox.start()
            wait_until(lambda: cgroup.usage().pids_refused > 0)
            after = cgroup.usage()
            hits = exceeded(before, after, cgroup.limits())
        assert [hit.kind for hit in hits] == [ExceededKind.PIDS]
        assert hits[0].used == 50

    def test_a_removed_cgroup(self, launch: Launch) -> None:
        sandbox = launch("exit")
        with Cgroup.of_pid(sandbox.pid) as cgroup:
            sandbox.start()
            sandbox.state()
            with pytest.raises(CgroupGone):
                cgroup.usage()
            with pytest.raises(CgroupGone):
                cgroup.limits()
            with pytest.raises(CgroupGone):
                watch_oom(cgroup)


@pytest.mark.root
@pytest.mark.docker
class TestOomWatch:
    @pytest.mark.parametrize("script", [f"{BOMB}; exit 3", f"exec {BOMB}"], ids=["child", "init"])
    def test_wakes_and_counts(self, launch: Launch, script: str) -> None:
        sandbox = launch(script)
        with Cgroup.of_pid(sandbox.pid) as cgroup, watching(cgroup) as watch:
            assert watch.killed() == 0
            sandbox.start()
            assert readable(watch)
            sandbox.wait_for_exit()
            assert settle(watch) == 1

    @v1_alone
    @pytest.mark.parametrize(("script", "killed"), [(f"{BOMB}; exit 3", 1), (f"exec {BOMB}", 1), ("exit", 0)])
    def test_asked_only_after_the_removal(self, launch: Launch, script: str, killed: int) -> None:
        sandbox = launch(script)
        with Cgroup.of_pid(sandbox.pid) as cgroup, watching(cgroup) as watch:
            sandbox.start()
            wait_for_removal(cgroup)
            assert sandbox.state()["OOMKilled"] is bool(killed)
            assert settle(watch) == killed

    def test_signals_after_the_last_reading_do_not_count(self, launch: Launch) -> None:
        sandbox = launch(f"for i in 1 2 3 4 5; do {BOMB} & done; wait; exec sleep 60")
        with Cgroup.of_pid(sandbox.pid) as cgroup, watching(cgroup) as watch:
            sandbox.start()
            wait_until(lambda: watch.killed() == 5)
            signal.pidfd_send_signal(sandbox.pidfd, signal.SIGKILL)
            wait_for_removal(cgroup)
            assert settle(watch) == 5

    @v1_alone
    def test_many_signals_unread_before_the_removal_count_as_one(self, launch: Launch) -> None:
        sandbox = launch(f"for i in 1 2 3 4 5; do {BOMB} & done; wait")
        with Cgroup.of_pid(sandbox.pid) as cgroup, watching(cgroup) as watch:
            sandbox.start()
            wait_for_removal(cgroup)
            assert settle(watch) == 1

    def test_a_removal_is_no_kill(self, launch: Launch) -> None:
        sandbox = launch("exit")
        with Cgroup.of_pid(sandbox.pid) as cgroup, watching(cgroup) as watch:
            sandbox.start()
            wait_for_removal(cgroup)
            assert settle(watch) == 0
            assert not readable(watch, timeout_s=0.02)


@contextmanager
def watching(cgroup: Cgroup) -> Iterator[OomWatch]:
    watch = watch_oom(cgroup)
    try:
        yield watch
    finally:
        watch.close()


def wait_for_removal(cgroup: Cgroup) -> None:
    """Of the memory cgroup: under v1 the engine removes that of one controller after the other."""
    wait_until(lambda: not cgroup.directories["memory"].path.exists())


def settle(watch: OomWatch) -> int:
    """The count in the end, however many times the watch wakes until then."""
    killed = watch.killed()
    while not watch.settled:
        assert readable(watch)
        assert watch.killed() >= killed
        killed = watch.killed()
    return killed


@pytest.mark.root
@v1_alone
def test_a_removal_in_the_midst_of_the_registration_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were opened in time answer ENODEV from then on."""
    path = V1_MEMORY / f"container-kit-test-{os.getpid()}"
    path.mkdir()
    write = os.write

    def remove_then_write(descriptor: int, data: bytes) -> int:
        path.rmdir()
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", remove_then_write)
    cgroup = cast("Cgroup", SimpleNamespace(directories={"memory": Directory(1, path)}))
    with pytest.raises(CgroupGone):
        watch_oom(cgroup)
    assert not path.exists()

"""What the kernel side does by itself: a task that is killed never returns to user mode."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.errors import SensorError
from daemon.events import Drift, Event, FileOpened, HostExecuted, ProcessExecuted
from daemon.sensors.abi import InKernel, InodeAction
from daemon.sensors.cgroups import find_tree
from tests.sensors.watching import OPEN, Watching, run_in

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]
TRIES = 200
ALL = InKernel.KILL_ON_DRIFT | InKernel.KILL_ON_FOREIGN | InKernel.KILL_ON_CALL
CALLS = ("mount", "unshare", "ptrace", "mknod", "mknodat", "connect", "bpf")

OFFENCES = (
    ("mount", "x", "/tmp", "tmpfs"),
    ("unshare", "0x10000000"),
    ("ptrace-child",),
    ("mknod", "/tmp/disk", "0x6180", "254", "0"),
    ("connect", "127.0.0.1", "9"),
    ("chroot", "/etc"),  # not among the calls: killed as a drift, at the open after it
    ("call", "321"),
)


@pytest.fixture
def killing(watching: Watching) -> Iterator[str]:
    """A container in which every offender is killed."""
    container = watching.start("sleep", "300", options=OPEN)
    try:
        watching.await_enrolled(container)
        watching.do(watching.sensor.kill_calls, CALLS)
        watching.do(watching.sensor.respond, container, ALL)
        yield container
    finally:
        watching.remove(container)


@pytest.mark.parametrize("offence", OFFENCES, ids=lambda offence: offence[0])
def test_offenders_never_return(watching: Watching, killing: str, offence: tuple[str, ...]) -> None:
    done = watching.exec(killing, "/act", "repeat", str(TRIES), *offence)
    assert done.stdout.split() == [str(TRIES), "0"]
    assert sum(event.killed for event in watching.events(killing, Event)) == TRIES


def test_a_neighbour_is_not_killed(watching: Watching, killing: str) -> None:
    run = watching.act("repeat", "20", "unshare", "0x10000000")
    assert run.output.split() == ["0", "20"]
    assert not any(event.killed for event in watching.events(run.container, Event))


def test_an_inode_that_kills(watching: Watching, killing: str, tmp_path: Path) -> None:
    watching.exec(killing, "sh", "-c", "echo secret >/tmp/bait")
    watching.exec(killing, "sh", "-c", "cp /etc/canary /tmp/canary; cat /tmp/canary")
    bait = next(e for e in watching.events(killing, FileOpened) if e.file.path == "/tmp/canary").file
    watching.do(watching.sensor.watch_inode, bait.device, bait.inode, InodeAction.KILL)
    done = watching.exec(killing, "/act", "repeat", str(TRIES), "open", "/tmp/canary", "0")
    assert done.stdout.split() == [str(TRIES), "0"]


def test_a_file_of_a_foreign_mount_kills(watching: Watching) -> None:
    container = watching.start("sh", "-c", "unshare -m sleep 61 & sleep 60", options=OPEN)
    try:
        watching.await_enrolled(container)
        watching.do(watching.sensor.respond, container, InKernel.KILL_ON_FOREIGN)
        look = "for p in $(pidof sleep); do /act repeat 20 open /proc/$p/root/etc/canary 0; done"
        done = watching.exec(container, "sh", "-c", look)
    finally:
        watching.remove(container)
    assert sorted(done.stdout.splitlines()) == ["0 20", "20 0"]  # one sleep is in a namespace of its own


def test_a_response_needs_a_container_that_was_seen(watching: Watching) -> None:
    with pytest.raises(SensorError, match="no process"):
        watching.do(watching.sensor.respond, "f" * 64, ALL)


def test_the_host_executes_a_file_of_a_sandbox(watching: Watching) -> None:
    """As core_pattern or release_agent would make the kernel do."""
    container = watching.start("sleep", "60")
    try:
        watching.await_enrolled(container)
        inspect = ["docker", "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", container]
        merged = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run([f"{merged}/act", "nap", "1"], check=True, capture_output=True)
        time.sleep(0.3)
        event = watching.one(container, HostExecuted)
    finally:
        watching.remove(container)
    assert event.file.path.endswith("/act")
    assert event.process.comm == "act"


def test_a_sandbox_on_the_hosts_own_file_system_makes_the_host_no_suspect(watching: Watching) -> None:
    folder = find_tree().mount_point / "sensorshared"
    watching.do(watching.sensor.watch_cgroup, "/sensorshared")
    try:
        run_in(folder)
        watching.await_enrolled("sensorshared")
        subprocess.run(["true"], check=True)
        watching.await_idle()
        assert watching.events("sensorshared", HostExecuted) == []
    finally:
        watching.do(watching.sensor.unwatch, "/sensorshared")
        folder.rmdir()


def test_a_shared_file_system_of_which_a_part_is_a_sandboxs_root(
    watching: Watching, act: Path, tmp_path: Path
) -> None:
    folder = find_tree().mount_point / "sensorpart"
    subprocess.run(["mount", "-t", "tmpfs", "shared", tmp_path], check=True)
    try:
        for name in ("root", "beside"):
            (tmp_path / name).mkdir()
            shutil.copy2(act, tmp_path / name / "act")
        watching.do(watching.sensor.watch_cgroup, "/sensorpart")
        run_in(folder, f"--root={tmp_path}/root", "/act", "nap", "1")
        watching.await_enrolled("sensorpart")
        subprocess.run([tmp_path / "beside/act", "nap", "1"], check=True, capture_output=True)
        subprocess.run([tmp_path / "root/act", "nap", "1"], check=True, capture_output=True)
        watching.await_idle()
        assert [e.file.path for e in watching.events("sensorpart", HostExecuted)] == [f"{tmp_path}/root/act"]
    finally:
        watching.do(watching.sensor.unwatch, "/sensorpart")
        subprocess.run(["umount", tmp_path], check=True)
        folder.rmdir()


def test_after_its_end_another_may_have_its_number(watching: Watching, tmp_path: Path) -> None:
    run = watching.run("/act", "nap", "1")
    watching.do(watching.sensor.forget, run.container)
    with pytest.raises(SensorError):
        watching.do(watching.sensor.respond, run.container, ALL)


def test_a_gained_uid_and_gained_capabilities_are_drift(watching: Watching) -> None:
    container = watching.start("sh", "-c", "cp /act /var/suid; chmod 4755 /var/suid; sleep 60")
    try:
        watching.await_enrolled(container)
        watching.exec(container, "sh", "-c", "/var/suid nap 1; true", options=("--user=1000",))
        events = watching.events(container, ProcessExecuted)
    finally:
        watching.remove(container)
    (gained,) = (e for e in events if e.file.path == "/var/suid")
    assert gained.drift == Drift.UID | Drift.CAPABILITIES
    assert gained.privileged_by_file


def test_drift_is_reported_with_every_later_event(watching: Watching) -> None:
    run = watching.run("sh", "-c", "unshare -m sh -c '/act nap 1; /act nap 1'; /act nap 2", options=OPEN)
    drifts = [
        (e.argv[-1], e.drift) for e in watching.events(run.container, ProcessExecuted) if "nap" in e.argv
    ]
    assert drifts == [("1", Drift.MOUNT_NAMESPACE)] * 2 + [("2", Drift.NONE)]

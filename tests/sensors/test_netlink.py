"""Real containers, seen through the proc connector."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import ROOT
from daemon.errors import SensorError
from daemon.events import (
    Drift,
    Enrolled,
    ProcessExecuted,
    ProcessExited,
    ProcessForked,
    ProcessTouched,
    SyscallMade,
)
from daemon.expectation import Expectation
from daemon.sensors import connector
from daemon.sensors.connector import Connector, Message, What, parse
from daemon.sensors.netlink import NetlinkSensor
from tests.sensors.collecting import Events, collecting, eventually
from tests.sensors.conftest import Start
from tests.sensors.containers import SLEEP

pytestmark = [pytest.mark.root, pytest.mark.docker]
COUNT = 500


def naps(events: Events, sandbox: str) -> list[ProcessExecuted]:
    """Executions of the short program, one that ended too soon among them: it has no arguments.

    What is read too late tells of the next program: of one that executes another at once there are two.
    """
    return [e for e in events.of(ProcessExecuted, sandbox) if e.argv[1:2] in ((), ("nap",))]


def over(events: Events, sandbox: str) -> bool:
    """All that was executed in it has ended."""
    executed = {e.process.pid for e in events.of(ProcessExecuted, sandbox)}
    return bool(executed) and executed <= {e.process.pid for e in events.of(ProcessExited, sandbox)}


@pytest.mark.parametrize("microseconds", [5000, 0])
async def test_every_short_process_is_seen_and_attributed(start: Start, microseconds: int) -> None:
    async with collecting(sensor := NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "short", str(COUNT), str(microseconds))
        await asyncio.to_thread(container.wait)
        await eventually(lambda: over(events, container.id))
    # The first process has no parent in the container, and what is read of it too late has no arguments.
    executed = [e for e in naps(events, container.id) if e.process.lineage]
    assert len(executed) == COUNT
    assert len({e.process.pid for e in executed}) == COUNT
    assert len(events.of(ProcessForked, container.id)) >= COUNT
    assert all(e.process.lineage[:1] == ("/workload",) for e in executed)
    assert not any(e.drift for e in events.of(ProcessExecuted, container.id))
    # Unattributed may be another's container that began and ended before this process had its turn.
    assert {**sensor.lost, "unattributed": 0} == dict.fromkeys(sensor.lost, 0)


async def test_a_program_is_described(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "nap", "400000", user="1000")
        await eventually(lambda: over(events, container.id))
    enrolled, *_ = events.of(Enrolled, container.id)
    # Read late, what the runtime executed before it looks as if it had been the same.
    *_, executed = events.of(ProcessExecuted, container.id)
    assert not enrolled.already_running
    assert executed.argv == executed.process.argv == ("/workload", "nap", "400000")
    assert (executed.process.uid, executed.process.comm, executed.process.lineage) == (1000, "workload", ())
    assert (executed.file.path, executed.file.resolved, executed.file.mode) == ("/workload", True, 0o755)
    assert executed.process.mnt_ns != Path("/proc/self/ns/mnt").stat().st_ino != 0
    assert not executed.fresh
    assert not executed.privileged_by_file


async def test_a_program_from_outside_is_enrolled(start: Start) -> None:
    container = start(*SLEEP)
    # The engine calls it started while it is still the runtime's own program.
    await eventually(lambda: container.exe == "/bin/busybox")
    async with collecting(NetlinkSensor()) as events:
        await eventually(lambda: events.of(Enrolled, container.id))
        (running,) = events.of(Enrolled, container.id)
        assert (running.already_running, running.process.pid) == (True, container.pid)
        assert running.process.exe == "/bin/busybox"
        await asyncio.to_thread(container.run, "/workload", "nap", "400000")
        await eventually(lambda: naps(events, container.id))
    came = [e for e in events.of(Enrolled, container.id) if not e.already_running]
    (executed,) = naps(events, container.id)
    assert len(came) == 1
    assert executed.drift == Drift.NONE


async def test_each_start_is_one_entry_however_many_stages_the_runtime_has(start: Start) -> None:
    """Side by side, so that some are looked at early and some late."""
    async with collecting(NetlinkSensor()) as events, asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(asyncio.to_thread(start, *SLEEP)) for _ in range(12)]
        containers = [await one for one in started]
        await eventually(lambda: all(events.of(ProcessExecuted, one.id) for one in containers))
    assert [len(events.of(Enrolled, one.id)) for one in containers] == [1] * 12


async def test_the_child_of_a_host_process_is_attributed_or_counted(start: Start) -> None:
    """By CLONE_PARENT a program from outside makes its runtime, on the host, the parent of its child."""
    container = start(*SLEEP)
    async with collecting(sensor := NetlinkSensor()) as events:
        before = sensor.unplaced
        assert await asyncio.to_thread(container.run, "/workload", "sibling", "400000") == (0, "")
        await eventually(lambda: naps(events, container.id) or sensor.unplaced > before)
    (executed,) = naps(events, container.id)
    assert executed.argv == ("/workload", "nap", "400000")


async def test_a_program_goes_on_without_its_first_thread(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "leaderless", "400000")
        await eventually(lambda: over(events, container.id))
    (executed,) = [e for e in naps(events, container.id) if "nap" in e.argv]
    assert executed.process.lineage == ("/workload",)
    assert [
        e.code for e in events.of(ProcessExited, container.id) if e.process.pid == executed.process.ppid
    ] == [7]


async def test_a_change_of_the_uid(start: Start) -> None:
    async with collecting(sensor := NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "as", "1000", "400000")
        await eventually(lambda: over(events, container.id))
    changed = [e for e in events.of(SyscallMade, container.id) if e.syscall == "setresuid"]
    assert [e.arguments for e in changed] == [(1000, 1000)], (list(events), sensor.lost)
    *_, executed = naps(events, container.id)
    assert executed.process.uid == 1000
    assert executed.drift == Drift.NONE


async def test_a_change_of_one_threads_uid(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "thread", "1000")
        await eventually(lambda: over(events, container.id))
    (changed,) = [e for e in events.of(SyscallMade, container.id) if e.arguments == (1000, 1000)]
    assert changed.process.uid == 1000
    assert changed.process.tid != changed.process.pid
    assert events.of(ProcessExited, container.id)[-1].process.uid == 0


async def test_a_set_uid_program_drifts(start: Start, workload: Path, tmp_path: Path) -> None:
    shutil.copy(workload, tmp_path / "powerful")
    (tmp_path / "powerful").chmod(0o4755)
    tmp_path.chmod(0o755)
    expected = Expectation(container_id="", uid=1000)
    async with collecting(NetlinkSensor(lambda container: expected)) as events:
        command = ("/bin/sh", "-c", "/w/powerful nap 400000; exit 3")
        container = await asyncio.to_thread(
            start, *command, user="1000", binds=[f"{tmp_path}:/w"], cap_drop=["ALL"], cap_add=["CHOWN"]
        )
        await eventually(lambda: over(events, container.id))
    shell, *_, powerful = events.of(ProcessExecuted, container.id)
    assert (shell.drift, shell.privileged_by_file) == (Drift.NONE, False)
    assert powerful.drift == Drift.UID | Drift.CAPABILITIES
    assert powerful.privileged_by_file
    assert events.of(ProcessExited, container.id)[-1].code == 3


async def test_a_file_that_is_not_the_images_is_fresh(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        command = "sleep 0.2; cp /workload /tmp/mine; /tmp/mine nap 400000; /workload nap 400000"
        container = await asyncio.to_thread(start, "/bin/sh", "-c", command)
        await eventually(lambda: len([e for e in naps(events, container.id) if e.argv]) >= 2)
    mine, image = (e for e in naps(events, container.id) if e.argv)
    assert (mine.file.path, mine.fresh) == ("/tmp/mine", True)
    assert (image.file.path, image.fresh) == ("/workload", False)


async def test_standard_streams_on_the_network_and_preloads(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        command = "export LD_PRELOAD=/tmp/evil.so SECRET=1; /workload shell 400000; :"
        container = await asyncio.to_thread(start, "/bin/sh", "-c", command)
        await eventually(lambda: [e for e in naps(events, container.id) if e.argv])
    *_, executed = naps(events, container.id)
    assert executed.inet_stdio == {0, 1, 2}
    assert executed.preloads == ("LD_PRELOAD=/tmp/evil.so",)


async def test_tracing(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        container = await asyncio.to_thread(start, "/workload", "trace")
        await eventually(lambda: events.of(ProcessTouched, container.id))
    (touched, *_) = events.of(ProcessTouched, container.id)
    assert (touched.syscall, touched.descendant, touched.process.exe) == ("ptrace", True, "/workload")
    assert touched.target_pid > 0


POWERS = {
    "cap_add": ["SYS_ADMIN", "SYS_PTRACE"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
}


async def test_another_mount_namespace_is_drift(start: Start) -> None:
    async with collecting(NetlinkSensor()) as events:
        command = "unshare -m /workload nap 400000; :"
        container = await asyncio.to_thread(start, "/bin/sh", "-c", command, **POWERS)
        await eventually(lambda: [e for e in naps(events, container.id) if e.argv])
    *_, executed = [e for e in naps(events, container.id) if e.argv]
    assert executed.drift == Drift.MOUNT_NAMESPACE


async def test_in_the_hosts_namespace_it_is_still_the_containers(start: Start, workload: Path) -> None:
    container = start(*SLEEP, **POWERS, pid_mode="host")
    expected = Expectation(
        container_id=container.id, capabilities=(1 << 41) - 1, host_namespaces=frozenset({"pid"})
    )
    async with collecting(NetlinkSensor(lambda container: expected)) as events:
        command = ("nsenter", "-t", str(os.getpid()), "-m", str(workload), "nap", "400000")
        status, output = await asyncio.to_thread(container.run, *command)
        assert (status, output) == (0, "")
        await eventually(lambda: naps(events, container.id))
    *_, escaped = [e for e in naps(events, container.id) if e.argv[1:2] == ("nap",)]
    assert escaped.drift == Drift.MOUNT_NAMESPACE | Drift.ROOT
    assert escaped.file.path == str(workload)


async def test_a_loss_is_counted_and_made_good(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "RECEIVE_BYTES", 8192)
    async with collecting(sensor := NetlinkSensor()) as events:
        container = start("/bin/sh", "-c", "/workload short 300 0; exec sleep 300")  # the loop waits here,
        time.sleep(1.5)  # and here
        await eventually(lambda: sensor.lost["overrun"])
        sensor._connector.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        await eventually(lambda: sensor.origin(container.pid) == container.id)
        await eventually(
            lambda: any(e.process.pid == container.pid for e in events.of(Enrolled, container.id))
        )
        await asyncio.to_thread(container.run, "/workload", "nap", "400000")
        await eventually(lambda: [e for e in naps(events, container.id) if e.argv])


def opened_by(*wrapper: str) -> str:
    """The error of a Connector in a process that lacks something."""
    code = "from daemon.sensors.connector import Connector\nConnector().close()"
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stderr.strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("wrapper", "remedy"),
    [
        (("unshare", "--net"), "network namespace"),
        (("unshare", "--pid", "--fork"), "pid and user namespaces"),
        (("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"), "CAP_NET_ADMIN"),
    ],
)
def test_what_lacks_is_named(wrapper: tuple[str, ...], remedy: str) -> None:
    error = opened_by(*wrapper)
    assert error.startswith("daemon.errors.SensorError: proc connector:")
    assert remedy in error


def test_only_the_kernel_is_believed() -> None:
    told = Connector()
    address = told.socket.getsockname()[0]
    forged = struct.pack("=IHHII", 76, 3, 0, 0, 0) + struct.pack("=IIIIHH", 1, 1, 0, 0, 40, 0)
    forged += struct.pack("=IIQ6I", What.FORK, 0, 1, 2, 2, 4242, 4242, 0, 0)
    assert parse(forged) == Message(What.FORK, 1, (2, 2, 4242, 4242))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11) as other:
        other.sendto(forged, (address, 0))
    messages = []
    try:
        while True:
            messages.append(told.receive())
    except BlockingIOError:
        pass
    finally:
        told.close()
    assert None in messages
    assert not [m for m in messages if m and m.numbers == (2, 2, 4242, 4242)]


@given(st.binary(max_size=600))
def test_any_datagram_is_a_message_or_none(data: bytes) -> None:
    message = parse(data)
    assert message is None or (len(data) >= 68 and len(message.numbers) == 4)


async def test_a_lack_of_the_host_ends_no_test_in_the_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise OSError(93, "Protocol not supported")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(connector.socket, "socket", absent)
    with pytest.raises(SensorError, match="CONFIG_PROC_EVENTS"):
        NetlinkSensor()
    assert len(list(Path("/proc/self/fd").iterdir())) == before

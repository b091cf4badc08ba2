"""Guarded files: nobody gets through, nobody is held up for long, whatever happens to the daemon."""

from __future__ import annotations

import asyncio
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from daemon import ROOT
from daemon.errors import SensorError
from daemon.events import FileOpened, SensorFailed
from daemon.sensors.guard import ANSWER_DEADLINE_S, Deny, InodeGuard
from daemon.sensors.observation import Observation, observe
from tests.sensors.collecting import collecting, eventually
from tests.sensors.conftest import Start

pytestmark = pytest.mark.root
COUNT = 200
RACES = 20
OPEN = "import sys; open(sys.argv[1])"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "secret"
    path.write_text("secret")
    return path


def opens(path: Path) -> bool:
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Operation not permitted" in done.stderr
    return done.returncode == 0


@pytest.mark.docker
async def test_nobody_in_a_container_gets_through(start: Start, secret: Path) -> None:
    """Nor a sibling thread that reads by the number of the descriptor before the open returns."""
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        container = await asyncio.to_thread(
            start, "/workload", "race", "/w/secret", str(COUNT), binds=[f"{secret.parent}:/w:ro"]
        )
        assert await asyncio.to_thread(container.wait) == f"{COUNT} 0\n"
        await eventually(lambda: len(events) == COUNT)
    assert all(isinstance(e, FileOpened) and e.refused and e.sandbox == container.id for e in events)
    assert {e.file.path for e in events.of(FileOpened)} == {"/w/secret"}
    assert {(e.process.exe, e.process.comm) for e in events} == {("/workload", "workload")}
    assert guard.lost == dict.fromkeys(guard.lost, 0)


@pytest.mark.docker
async def test_without_the_guard_the_race_is_won(start: Start, secret: Path) -> None:
    """How often is the scheduler's affair: at times never in one container's tries."""
    for _ in range(RACES):
        container = start("/workload", "race", "/w/secret", str(COUNT), binds=[f"{secret.parent}:/w:ro"])
        denied, leaks = (await asyncio.to_thread(container.wait)).split()
        assert denied == "0"
        if int(leaks) > 0:
            return
    pytest.fail("the race is never won: it proves nothing of the guard")


async def test_a_descriptor_from_before_the_guard(workload: Path, secret: Path) -> None:
    """Why a file must be guarded before a sandbox can open it."""
    release = tuple(map(int, platform.release().split(".")[:2]))
    async with collecting(guard := InodeGuard()) as events:
        command = (workload, "hold", secret)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin
            assert child.stdout
            assert int(child.stdout.readline()) >= 0
            guard.guard(secret)
            child.stdin.write("\n")
            child.stdin.flush()
            read = await asyncio.to_thread(child.stdout.readline)
        await asyncio.sleep(0.1)
    refused = [e for e in events.of(FileOpened) if e.syscall == "read" and e.refused]
    assert (read, len(refused)) == (("6\n", 0) if release >= (6, 14) else ("-1\n", 1))


async def test_the_daemon_itself_is_let_through_and_not_reported(secret: Path) -> None:
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        assert secret.read_text() == "secret"
        assert not await asyncio.to_thread(opens, secret)
        await eventually(lambda: events)
        guard.release(secret)
        assert await asyncio.to_thread(opens, secret)
    assert len(events) == 1


@pytest.mark.docker
async def test_a_file_that_the_host_uses(start: Start, secret: Path) -> None:
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret, Deny.CONTAINERS)
        assert await asyncio.to_thread(opens, secret)
        container = await asyncio.to_thread(start, "cat", "/w/secret", binds=[f"{secret.parent}:/w:ro"])
        assert "not permitted" in await asyncio.to_thread(container.wait)
        await eventually(lambda: any(e.sandbox for e in events))
    assert [(e.sandbox, e.succeeded) for e in events.of(FileOpened) if e.syscall == "open"] == [
        ("", True),
        (container.id, False),
    ]


@pytest.mark.docker
async def test_programs_are_guarded_as_well(start: Start, workload: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    program = tmp_path / "program"
    program.write_bytes(workload.read_bytes())
    program.chmod(0o755)
    async with collecting(guard := InodeGuard()):
        guard.guard(program)
        container = await asyncio.to_thread(
            start, "/bin/sh", "-c", "/w/program nap 0", binds=[f"{tmp_path}:/w:ro"]
        )
        assert "not permitted" in await asyncio.to_thread(container.wait)


async def test_a_stuck_loop_holds_nobody_up(secret: Path) -> None:
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        before_s = time.monotonic()
        assert not opens(secret)  # the loop's own thread waits here
        assert time.monotonic() - before_s < ANSWER_DEADLINE_S
        await eventually(lambda: events)


async def test_a_busy_loop_delays_little(secret: Path) -> None:
    """Python code that never lets the loop run, while another process tries."""
    async with collecting(guard := InodeGuard()):
        guard.guard(secret)
        script = (
            "import sys, time\n"
            "for _ in range(20):\n"
            "    before = time.monotonic()\n"
            "    try: open(sys.argv[1])\n"
            "    except PermissionError: print(time.monotonic() - before)\n"
        )
        child = subprocess.Popen([sys.executable, "-c", script, secret], stdout=subprocess.PIPE, text=True)
        while child.poll() is None:
            sum(range(1000))
        output, _ = child.communicate()
    delays_s = [float(line) for line in output.split()]
    assert len(delays_s) == 20
    assert statistics.median(delays_s) < ANSWER_DEADLINE_S / 2


async def test_a_stuck_thread_is_given_up(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr("daemon.sensors.guard.observe", lambda pid: (release.wait(), observe(pid))[1])
    try:
        async with collecting(guard := InodeGuard()) as events:
            guard.guard(secret)
            before_s = time.monotonic()
            assert await asyncio.to_thread(opens, secret)
            assert time.monotonic() - before_s < 3 * ANSWER_DEADLINE_S + 1
            await eventually(lambda: events)
            assert await asyncio.to_thread(opens, secret)
        (failed,) = events.of(SensorFailed)
        assert failed.sensor == "inode-guard"
        assert "no file is guarded" in failed.reason
    finally:
        release.set()
        await asyncio.to_thread(guard._thread.join, 5)
    assert not guard._thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_fails_holds_nobody_up(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that it failed over is still denied, and that no file is guarded any more is told."""
    monkeypatch.setattr("daemon.sensors.guard.observe", lambda pid: {}[pid])
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        assert not await asyncio.to_thread(opens, secret)
        assert await asyncio.to_thread(opens, secret)
        await eventually(lambda: events.of(SensorFailed))


async def test_an_end_lets_all_through(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the guard, while somebody waits for its answer."""
    entered, release = threading.Event(), threading.Event()

    def slow(pid: int) -> Observation:
        entered.set()
        release.wait()
        return observe(pid)

    monkeypatch.setattr("daemon.sensors.guard.observe", slow)
    guard = InodeGuard()
    guard.guard(secret)
    attempt = asyncio.create_task(asyncio.to_thread(opens, secret))
    await asyncio.to_thread(entered.wait)
    closing = asyncio.create_task(guard.close())
    assert await attempt
    release.set()
    await closing


def test_the_death_of_the_daemon_lets_all_through(secret: Path) -> None:
    code = f"""
import asyncio, time
from pathlib import Path
import daemon.sensors.guard as module

async def main():
    module.observe = lambda pid: time.sleep(1000)
    module.InodeGuard().guard(Path({str(secret)!r}))
    print("ready", flush=True)
    time.sleep(1000)

asyncio.run(main())
"""
    daemon = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    with daemon:
        assert daemon.stdout
        assert daemon.stdout.readline() == b"ready\n"
        attempt = subprocess.Popen([sys.executable, "-c", OPEN, secret])
        with attempt:
            with pytest.raises(subprocess.TimeoutExpired):
                attempt.wait(0.5)
            daemon.kill()
            assert attempt.wait(5) == 0


async def test_a_replaced_file_must_be_guarded_anew(secret: Path) -> None:
    async with collecting(guard := InodeGuard()):
        guard.guard(secret)
        (secret.parent / "other").write_text("other")
        (secret.parent / "other").rename(secret)
        assert await asyncio.to_thread(opens, secret)
        guard.guard(secret)
        assert not await asyncio.to_thread(opens, secret)


async def test_what_cannot_be_guarded_is_refused(tmp_path: Path) -> None:
    guard = InodeGuard()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "socket", tmp_path, tmp_path / "absent"):
            with pytest.raises(SensorError, match="name a regular file"):
                guard.guard(path)
    await guard.close()


async def test_more_decisions_than_can_be_kept_are_counted(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.sensors.guard.LIMIT", 3)
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        for _ in range(5):
            assert not opens(secret)  # the loop does not fetch them
        await eventually(lambda: len(events) == 3)
    assert guard.lost["undelivered"] == 2


async def test_no_descriptor_of_a_guarded_file_is_left(secret: Path) -> None:
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        before = set(Path("/proc/self/fd").iterdir())
        for _ in range(20):
            assert not await asyncio.to_thread(opens, secret)
        await eventually(lambda: len(events) == 20)
        assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1

"""Changes of real files: each is told, and what is ordinary is not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.audit.key import signing_key
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.audit.retention import Limits, Retention
from daemon.audit.segments import segments
from daemon.errors import SensorError
from daemon.events import HostFileChanged
from daemon.findings import Severity
from daemon.sensors import inotify, watches
from daemon.sensors.inotify import InotifySensor
from daemon.sensors.watches import Watch, canary, own_files, persistence_files, segment
from tests.sensors.collecting import Events, collecting, eventually
from tests.sensors.conftest import Start

Changes = set[tuple[str, str]]


def changes(events: Events, folder: Path) -> Changes:
    return {(os.path.relpath(e.path, folder), e.change) for e in events.of(HostFileChanged)}


async def seen(tmp_path: Path, watch: Watch, act: Callable[[], object]) -> Changes:
    """What is told of one act."""
    async with collecting(InotifySensor([watch])) as events:
        act()
        await asyncio.sleep(0.15)
    assert {(e.role, e.sandbox, e.process.pid) for e in events.of(HostFileChanged)} <= {
        (watch.role, watch.sandbox, 0)
    }
    return changes(events, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("content")
    return path


def replace(path: Path) -> None:
    (path.parent / "new").write_text("other")
    (path.parent / "new").rename(path)


def append(path: Path) -> None:
    with path.open("a") as opened:
        opened.write("more")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda path: path.read_text(), "opened"),
        (append, "modified"),
        (lambda path: path.chmod(0o600), "attributes"),
        (lambda path: path.unlink(), "deleted"),
        (lambda path: path.rename(path.parent / "away"), "moved"),
        (replace, "moved"),
        (lambda path: os.truncate(path, 0), "modified"),
    ],
)
async def test_a_canary(tmp_path: Path, file: Path, act: Callable[[Path], object], expected: str) -> None:
    told = await seen(tmp_path, canary(file, "a" * 64), lambda: act(file))
    assert ("file", expected) in told
    assert {path for path, _ in told} == {"file"}


async def test_what_lies_beside_a_canary_is_nobodys_business(tmp_path: Path, file: Path) -> None:
    def act() -> None:
        (tmp_path / "beside").write_text("x")
        (tmp_path / "beside").read_text()
        list(tmp_path.iterdir())

    assert await seen(tmp_path, canary(file), act) == set()


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (append, set()),
        (lambda path: path.read_text(), set()),
        (lambda path: os.truncate(path, 3), {("file", "modified")}),
        (lambda path: path.write_text("x"), {("file", "modified")}),
        (lambda path: path.chmod(0o777), {("file", "attributes")}),
        (lambda path: path.rename(path.parent / "away"), {("file", "moved")}),
        (replace, {("file", "moved")}),
    ],
)
async def test_a_log(tmp_path: Path, file: Path, act: Callable[[Path], object], expected: Changes) -> None:
    watch = Watch(file, "audit", appends=True)
    assert await seen(tmp_path, watch, lambda: act(file)) == expected


async def test_the_daemons_own_audit_log_does_not_alarm(tmp_path: Path) -> None:
    """Nor do its new segments, nor those that it deletes."""
    audit, key = AuditLog(tmp_path / "audit" / "audit.jsonl", 4096), signing_key(tmp_path)
    own = own_files(
        config=tmp_path / "config.toml",
        profile_dirs=[tmp_path / "profiles"],
        audit_log=[audit.path],
        socket=tmp_path / "api.sock",
        engine_socket=tmp_path / "docker.sock",
    )
    sensor = InotifySensor(own)
    audit.on_segment = lambda path: sensor.add(segment(path))
    retention = Retention(audit, key, Limits(limit_bytes=8192), lambda: 0)
    retention.on_delete = sensor.remove
    async with collecting(sensor) as events:
        for number in range(50):
            await audit.record(
                SecurityAuditEvent(
                    session_id=str(number),
                    event_type=EventType.DAEMON_STARTED,
                    severity=Severity.LOW,
                    action="recorded",
                )
            )
            await audit.checkpoint(key)
        await retention.step()
        await asyncio.sleep(0.1)
        assert events == []
        last = segments(audit.path)[-1].path
        os.truncate(last, 100)
        await eventually(lambda: events)
    audit.close()
    (told,) = events.of(HostFileChanged)
    assert (told.path, told.change, told.role) == (str(last), "modified", "audit")
    assert last != audit.path
    assert not audit.path.exists()


async def test_what_came_just_before_it_was_watched_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "first").touch()
    (tmp_path / "prepared").touch()
    sensor = InotifySensor([segment(tmp_path / "first")])
    async with collecting(sensor) as events:
        (tmp_path / "prepared").rename(tmp_path / "second")
        sensor.add(segment(tmp_path / "second"))
        await asyncio.sleep(0.1)
        assert events == []
        (tmp_path / "second").unlink()
        await eventually(lambda: events)
    assert [told.change for told in events.of(HostFileChanged)] == ["deleted"]


class TestMissing:
    """A file that is not there, in folders that are not there."""

    @pytest.fixture
    def keys(self, tmp_path: Path) -> Watch:
        return Watch(tmp_path / "home/user/.ssh/authorized_keys", "persistence")

    async def test_it_appears_with_all_its_folders(self, tmp_path: Path, keys: Watch) -> None:
        def act() -> None:
            keys.path.parent.mkdir(parents=True)
            keys.path.write_text("key")

        assert await seen(tmp_path, keys, act) == {("home/user/.ssh/authorized_keys", "created")}

    async def test_folder_by_folder(self, tmp_path: Path, keys: Watch) -> None:
        async with collecting(InotifySensor([keys])) as events:
            for folder in reversed(keys.path.relative_to(tmp_path).parents[:-1]):
                (tmp_path / folder).mkdir()
                await asyncio.sleep(0.05)
            assert events == []
            keys.path.write_text("key")
            await eventually(lambda: events)

    @pytest.mark.parametrize("above", ["home", "home/user", "home/user/.ssh"])
    async def test_a_folder_is_exchanged_for_another(self, tmp_path: Path, keys: Watch, above: str) -> None:
        keys.path.parent.mkdir(parents=True)
        keys.path.write_text("key")

        def act() -> None:
            (tmp_path / above).rename(tmp_path / "away")
            keys.path.parent.mkdir(parents=True)
            keys.path.write_text("another")

        (told,) = {path for path, _ in await seen(tmp_path, keys, act)}
        assert told == "home/user/.ssh/authorized_keys"

    async def test_what_was_moved_away_is_no_longer_watched(self, tmp_path: Path, keys: Watch) -> None:
        keys.path.parent.mkdir(parents=True)
        keys.path.write_text("key")
        async with collecting(sensor := InotifySensor([keys])) as events:
            (tmp_path / "home").rename(tmp_path / "away")
            await eventually(lambda: events)
            await asyncio.sleep(0.1)
            events.clear()
            (tmp_path / "away/user/.ssh/authorized_keys").write_text("x")
            await asyncio.sleep(0.1)
            assert events == []
            keys.path.parent.mkdir(parents=True)
            keys.path.write_text("back")
            await eventually(lambda: events)
        assert sensor.lost == dict.fromkeys(sensor.lost, 0)


async def test_links_are_followed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "link"
    link.symlink_to(file)
    watch = Watch(link, "config")
    assert await seen(tmp_path, watch, lambda: file.write_text("x")) == {("file", "modified")}
    assert await seen(tmp_path, watch, lambda: replace(link)) == {("etc/link", "moved")}


async def test_a_folder_and_what_is_below(tmp_path: Path) -> None:
    def act() -> None:
        (tmp_path / "units/a.wants").mkdir()
        (tmp_path / "units/a.wants/evil.service").symlink_to("/dev/null")
        (tmp_path / "units/evil.service").write_text("x")

    (tmp_path / "units").mkdir()
    assert await seen(tmp_path, Watch(tmp_path / "units", "persistence", below=True), act) >= {
        ("units/a.wants", "created"),
        ("units/a.wants/evil.service", "created"),
        ("units/evil.service", "created"),
    }


async def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder, name = tmp_path / os.fsdecode(b"\xff\xfe"), os.fsdecode(b"x\xf0")

    async with collecting(sensor := InotifySensor([Watch(tmp_path, "profiles", below=True)])) as events:
        folder.mkdir()
        await eventually(lambda: (folder.name, "created") in changes(events, tmp_path))
        await asyncio.sleep(0.1)
        (folder / name).write_text("x")
        await eventually(lambda: (f"{folder.name}/{name}", "created") in changes(events, tmp_path))
        (tmp_path / "plain").touch()
        await eventually(lambda: ("plain", "created") in changes(events, tmp_path))
    assert sensor.lost == dict.fromkeys(sensor.lost, 0)


async def test_watches_come_and_go(tmp_path: Path, file: Path) -> None:
    async with collecting(sensor := InotifySensor()) as events:
        file.write_text("1")
        sensor.add(canary(file, "b" * 64))
        file.write_text("2")
        await eventually(lambda: events)
        assert {e.sandbox for e in events} == {"b" * 64}
        sensor.remove(file)
        await asyncio.sleep(0.1)
        events.clear()
        file.write_text("3")
        await asyncio.sleep(0.1)
    assert events == []


FLOOD = "os.chmod(sys.argv[1], 0o600); open(sys.argv[1]).close()"
"""Alternating, as the kernel merges an event with the one before it if they are the same."""


async def test_a_new_watch_swallows_nothing_of_the_others(tmp_path: Path, file: Path) -> None:
    """What happened before it, and has not been read yet."""
    async with collecting(sensor := InotifySensor([Watch(tmp_path / "missing", "persistence")])) as events:
        (tmp_path / "missing").write_text("x")
        sensor.add(canary(file))
        await eventually(lambda: ("missing", "created") in changes(events, tmp_path))


async def test_an_overflow_is_counted_and_made_good(tmp_path: Path, file: Path) -> None:
    """The loop is stuck while more happens than the kernel's queue holds."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    missing = tmp_path / "later" / "missing"
    async with collecting(sensor := InotifySensor([canary(file), Watch(missing, "persistence")])) as events:
        script = f"import os, sys\nfor n in range({limit}): {FLOOD}"
        subprocess.run([sys.executable, "-c", script, file], check=True)
        missing.parent.mkdir()
        missing.write_text("x")
        await eventually(lambda: sensor.lost["overflow"])
        await eventually(lambda: ("later/missing", "created") in changes(events, tmp_path))


async def test_a_flood_leaves_the_loop_to_others(tmp_path: Path, file: Path) -> None:
    script = f"import os, sys\nwhile True: {FLOOD}"
    flood = await asyncio.create_subprocess_exec(sys.executable, "-c", script, file)
    try:
        async with collecting(InotifySensor([canary(file)])) as events:
            await eventually(lambda: events)
            gaps_s = []
            for _ in range(100):
                before_s = asyncio.get_running_loop().time()
                await asyncio.sleep(0.001)
                gaps_s.append(asyncio.get_running_loop().time() - before_s)
    finally:
        flood.kill()
        await flood.wait()
    assert sorted(gaps_s)[50] < 0.1


@pytest.mark.root
@pytest.mark.docker
async def test_a_canary_in_a_container(start: Start, file: Path) -> None:
    """The file is the host's, so its watch tells what is done to it in there."""
    file.parent.chmod(0o755)
    async with collecting(InotifySensor([canary(file, "c" * 64)])) as events:
        container = await asyncio.to_thread(start, "cat", "/run/token", binds=[f"{file}:/run/token:ro"])
        await asyncio.to_thread(container.wait)
        await eventually(lambda: ("file", "opened") in changes(events, file.parent))


def test_what_is_watched_of_this_host(tmp_path: Path) -> None:
    found = {str(watch.path) for watch in persistence_files([tmp_path])}
    assert found >= {
        "/etc/ld.so.preload",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/sudoers",
        "/etc/sudoers.d",
        "/etc/crontab",
        "/etc/cron.d",
        "/etc/cron.daily",
        "/var/spool/cron",
        "/etc/systemd/system",
        f"{tmp_path}/.ssh/authorized_keys",
    }
    assert "/root/.ssh/authorized_keys" in {str(watch.path) for watch in persistence_files()}


async def test_this_hosts_files_can_be_watched_and_are_quiet() -> None:
    async with collecting(sensor := InotifySensor(persistence_files())) as events:
        await asyncio.sleep(0.2)
    assert events == []
    assert sensor.lost == dict.fromkeys(sensor.lost, 0)


async def test_too_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.sensors.places.FOLDERS_LIMIT", 3)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SensorError, match="max_user_watches"):
        InotifySensor([Watch(tmp_path, "profiles", below=True)])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_no_instance_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError("Cannot initialize new instance of inotify, Errno=Too many open files (EMFILE)")

    monkeypatch.setattr(inotify.pyinotify, "WatchManager", none)
    with pytest.raises(SensorError, match="max_user_instances"):
        InotifySensor()


async def test_the_descriptor_is_not_inherited(tmp_path: Path) -> None:
    sensor = InotifySensor([Watch(tmp_path, "config")])
    assert not os.get_inheritable(sensor._manager.get_fd())
    assert not os.get_blocking(sensor._manager.get_fd())
    await sensor.close()


def test_homes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "HOMES_LIMIT", 2)
    homes = [Path(f"/home/{number}") for number in range(9)]
    assert len([w for w in persistence_files(homes) if w.path.name == "authorized_keys"]) == 2

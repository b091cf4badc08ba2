"""A sandbox is seen from its first instruction on, and nothing of the runtime's own work is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from daemon.events import Drift, Enrolled, Event, ProcessExecuted, ProcessExited, ProcessForked
from daemon.sensors import abi
from daemon.sensors.cgroups import find_tree
from tests.sensors.watching import OPEN, Watching, run_in

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]


@pytest.mark.parametrize("options", [(), ("--init",), ("--user=1000", "--cap-drop=ALL"), OPEN])
def test_the_entrypoint_is_the_first_thing_seen(watching: Watching, options: tuple[str, ...]) -> None:
    run = watching.run("/act", "nap", "1", options=options)
    first, second, *_ = watching.events(run.container, Event)
    assert isinstance(first, Enrolled)
    assert not first.already_running
    assert isinstance(second, ProcessExecuted)
    assert second.file.path == ("/sbin/docker-init" if "--init" in options else "/act")
    assert second.file.filesystem == ("ext4" if "--init" in options else "overlay") or "--init" in options
    assert first.process.pid == second.process.pid
    assert {event.drift for event in watching.events(run.container, Event)} == {Drift.NONE}


def test_every_start_is_enrolled_before_its_first_exec(watching: Watching) -> None:
    containers = [watching.run("/act", "nap", "1").container for _ in range(5)]
    for _ in range(45):
        command = [
            "docker",
            "run",
            "--rm",
            f"--cgroup-parent={watching.cgroup_parent}",
            "--network=none",
            "--cidfile",
        ]
        cidfile = Path(f"/tmp/container-kit-{os.getpid()}.cid")
        subprocess.run(
            [*command, cidfile, watching.image, "/act", "nap", "1"], check=True, capture_output=True
        )
        containers.append(cidfile.read_text())
        cidfile.unlink()
    watching.await_enrolled(containers[-1])
    firsts = [[type(event) for event in watching.events(each, Event)[:2]] for each in containers]
    assert firsts == [[Enrolled, ProcessExecuted]] * 50


def test_a_thousand_short_programs_are_all_seen(watching: Watching) -> None:
    run = watching.act("spawn", "1000", "2000")
    short = [e for e in watching.events(run.container, ProcessExecuted) if e.argv[0] == "short"]
    assert len(short) == 1000
    assert {e.argv for e in short} == {("short", "nap", "2000")}
    assert len({e.process.pid for e in short}) == 1000
    assert len(watching.events(run.container, ProcessForked)) == 1000
    assert len(watching.events(run.container, ProcessExited)) == 1001


def test_a_renamed_binary_is_known_by_its_inode(watching: Watching) -> None:
    run = watching.run(
        "sh", "-c", "ln -s /act /tmp/innocent; ln /act /tmp/other; /tmp/innocent nap 1; /tmp/other nap 1"
    )
    executed = [e for e in watching.events(run.container, ProcessExecuted) if e.argv[1:2] == ("nap",)]
    assert [e.file.path for e in executed] == ["/act", "/tmp/other"]
    assert len({(e.file.device, e.file.inode) for e in executed}) == 1
    assert [e.argv[0] for e in executed] == ["/tmp/innocent", "/tmp/other"]


def test_a_later_exec_is_enrolled_as_well(watching: Watching) -> None:
    container = watching.start("sleep", "60")
    try:
        watching.await_enrolled(container)
        watching.exec(container, "/act", "nap", "1")
        enrolled = watching.events(container, Enrolled)
        executed = watching.events(container, ProcessExecuted)
    finally:
        watching.remove(container)
    assert len(enrolled) == 2
    assert enrolled[1].process.pid == executed[-1].process.pid
    assert executed[-1].argv == ("/act", "nap", "1")
    assert enrolled[1].drift == Drift.NONE


def test_a_privileged_exec_into_a_confined_sandbox_keeps_its_namespaces(watching: Watching) -> None:
    container = watching.start("sleep", "60", options=("--user=1000",))
    try:
        watching.await_enrolled(container)
        watching.exec(container, "/act", "nap", "1", options=("--user=0",))
        last = watching.events(container, ProcessExecuted)[-1]
    finally:
        watching.remove(container)
    assert last.process.uid == 0
    assert last.drift == Drift.NONE  # it came in with these rights: they were not gained inside


def test_what_ran_before_the_sensor_is_enrolled(sensor_image: str) -> None:
    before = Watching(sensor_image)
    container = before.start("sh", "-c", "sleep 61 & sleep 60")
    try:
        with before:
            enrolled = before.await_enrolled(container)
            before.exec(container, "/act", "nap", "1")
            events = before.events(container, Event)
    finally:
        before.remove(container)
    assert enrolled.already_running
    running = [e.process.comm for e in events if isinstance(e, Enrolled) and e.already_running]
    assert sorted(running) == ["sh", "sleep", "sleep"] or sorted(running) == ["sleep", "sleep"]
    assert any(isinstance(e, ProcessExecuted) and e.argv == ("/act", "nap", "1") for e in events)
    assert {e.drift for e in events} == {Drift.NONE}


def test_a_process_outside_is_not_reported(watching: Watching, act: Path) -> None:
    before = len(watching.seen)
    subprocess.run([act, "nap", "1"], check=True, capture_output=True)
    pids = {event.process.pid for event in watching.seen[before:] if event.process.comm == "act"}
    assert pids == set()


def test_a_parent_that_was_removed_and_made_again(watching: Watching) -> None:
    """systemd does so with slices."""
    folder = find_tree().mount_point / "sensoragain"
    watching.do(watching.sensor.watch_parent, "/sensoragain")
    folder.rmdir()
    folder.mkdir()
    child = folder / "inside"
    child.mkdir()
    try:
        run_in(child)
        watching.await_enrolled("inside")
    finally:
        watching.do(watching.sensor.unwatch, "/sensoragain")
        child.rmdir()
        folder.rmdir()


def test_the_host_is_known_before_the_first_sandbox(watching: Watching) -> None:
    root = Path("/").stat().st_dev
    raw = watching.do(watching.sensor._maps["bss"].get, bytes(4))
    host = abi.HOST.unpack(raw)
    assert host.own_root_device == os.major(root) << 20 | os.minor(root)
    assert host.mnt_ns > 0
    assert host.net_ns > 0


def test_a_prefix_tells_sandboxes_from_other_children(watching: Watching) -> None:
    """As docker-ID.scope beside the services below system.slice."""
    folder = find_tree().mount_point / "sensorprefix"
    identifier = "ab" * 32
    names = (f"docker-{identifier}.scope", "cron.service")
    watching.do(watching.sensor.watch_parent, "/sensorprefix", "docker-")
    watching.await_idle()
    try:
        before = len(watching.seen)
        for name in names:
            run_in(folder / name)
        watching.await_enrolled(identifier)
        watching.await_idle()
        seen = {event.sandbox for event in watching.seen[before:]}  # of others' containers, too
        assert seen & {identifier, *names} == {identifier}
    finally:
        watching.do(watching.sensor.unwatch, "/sensorprefix")
        for name in names:
            (folder / name).rmdir()
        folder.rmdir()


def test_a_cgroup_that_is_a_sandbox_itself(watching: Watching) -> None:
    folder = find_tree().mount_point / "sensoritself"
    watching.do(watching.sensor.watch_cgroup, "/sensoritself")
    try:
        run_in(folder)
        watching.await_enrolled("sensoritself")
        watching.do(watching.sensor.unwatch, "/sensoritself")
        before = len(watching.events("sensoritself", Enrolled))
        run_in(folder)
        watching.await_idle()
        assert len(watching.events("sensoritself", Enrolled)) == before
    finally:
        watching.do(watching.sensor.unwatch, "/sensoritself")
        folder.rmdir()


def test_one_that_moves_to_another_cgroup_is_still_tracked(watching: Watching) -> None:
    tree = find_tree()
    elsewhere = tree.mount_point / "container-kit-sensor-elsewhere"
    elsewhere.mkdir(exist_ok=True)
    try:
        run = watching.act(
            "move",
            "/elsewhere/cgroup.procs",
            options=(*OPEN, "--pid=host", f"--volume={elsewhere}:/elsewhere"),
        )
        moved = watching.events(run.container, ProcessExecuted)[-1]
    finally:
        elsewhere.rmdir()
    assert moved.argv == ("moved", "true")

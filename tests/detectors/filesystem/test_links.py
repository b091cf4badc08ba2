"""Links, symbolic and hard."""

from __future__ import annotations

import pytest

from daemon.events import Event
from detectors.filesystem.hardlink import Hardlink
from detectors.filesystem.path_swap import PathSwap
from detectors.filesystem.symlink_plant import SymlinkPlant
from tests.detectors.making import EPERM, PLAIN, SANDBOX, called, linked, told, with_mount

VOLUME = with_mount("/srv/jobs/17", "/work")
PLANT, SWAP = ("symlink-plant", "medium"), ("path-swap-race", "medium")
EXCHANGE = (-100, 1, -100, 2, 2)


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("/tmp/canary/secret", "/work/result.txt"),
        ("/etc/passwd", "/work/a/b"),
        ("../x", "/work/result"),
        ("a/../../x", "/work/result"),
        ("/work/../etc/passwd", "/work/result"),
        ("/home/ann", "/proc/self/root/work/x"),
        ("/tmp/canary/secret", "result.txt"),
    ],
)
def test_out_of_a_volume(target: str, link: str) -> None:
    assert told(SymlinkPlant(), linked(target, link), sandbox=VOLUME) == [PLANT]
    assert told(SymlinkPlant(), linked(target, link), sandbox=PLAIN) == []


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("../../../../../../../../etc/passwd", "report.log"),
        ("../../etc/passwd", "/tmp/x"),
        ("a/../../../etc/passwd", "/tmp/x"),
        ("/proc/1/root", "logs"),
        ("/proc//self/./root/etc", "/tmp/x"),
        ("/proc/17/cwd", "/tmp/x"),
        ("/proc/self/fd/7/../..", "/tmp/x"),
        ("/etc/shadow", "/tmp/x"),
        ("/root/.ssh", "x"),
        ("/run/docker.sock", "/tmp/x"),
        ("/dev/sda1", "/tmp/x"),
        ("/proc/sys/kernel/core_pattern", "/tmp/x"),
    ],
)
def test_to_what_nobody_links_to_for_convenience(target: str, link: str) -> None:
    assert told(SymlinkPlant(), linked(target, link)) == [PLANT]
    assert told(SymlinkPlant(), linked(target, link, result=EPERM)) == [PLANT]


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("/usr/bin/python3", "/work/v/bin/python3"),
        ("/usr/bin/python3", "/tmp/v/bin/python3"),
        ("python3", "/work/v/bin/python"),
        ("../lib/node_modules/npm/bin/npm-cli.js", "/work/n/bin/npm"),
        ("../../usr/bin/x", "/work/a/b"),
        ("/work/a", "/work/b"),
        ("/work/a", "b"),
        ("/tmp/pytest-of-root/pytest-0", "/tmp/pytest-of-root/pytest-current"),
        ("../x/y", "relative/z"),
        ("/proc/self/fd", "/r/dev/fd"),
        ("/proc/self/fd/1", "/r/dev/stdout"),
        ("/proc/mounts", "/etc/mtab"),
        ("/dev/null", "/work/x.service"),
        ("/etc/alternatives/vi", "/usr/bin/vi"),
        ("", "/work/x"),
    ],
)
def test_links_of_environments_packages_and_images(target: str, link: str) -> None:
    assert told(SymlinkPlant(), linked(target, link), sandbox=VOLUME) == []


def test_a_read_only_volume_or_one_of_its_own_is_not_shared() -> None:
    for sandbox in (with_mount("/srv/x", "/work", read_only=True), with_mount("", "/work")):
        assert told(SymlinkPlant(), linked("/etc/passwd", "/work/x"), sandbox=sandbox) == []


def test_hard_links_are_another_matter() -> None:
    assert told(SymlinkPlant(), linked("/etc/shadow", "/tmp/x", symbolic=False)) == []
    assert told(Hardlink(), linked("/etc/shadow", "/tmp/x")) == []


@pytest.mark.parametrize(
    "target", ["/etc/shadow", "/proc/self/root/etc/shadow", "/run/docker.sock", "/root/.ssh/x"]
)
def test_a_hard_link_to_a_secret(target: str) -> None:
    event = linked(target, "/tmp/x", symbolic=False)
    assert told(Hardlink(), event) == [("secret-hardlink", "medium")]


@pytest.mark.parametrize("target", ["/dev/shm/sem.x", "objects/pack/x", "/etc/passwd", "/proc/self/fd/7", ""])
def test_hard_links_of_every_day(target: str) -> None:
    assert told(Hardlink(), linked(target, "/tmp/x", symbolic=False)) == []


def exchanges(count: int, *, every_s: float = 0.1) -> list[Event]:
    return [called("renameat2", *EXCHANGE, at_s=n * every_s) for n in range(count)]


def test_names_are_exchanged_again_and_again() -> None:
    assert told(PathSwap(), *exchanges(9)) == []
    assert told(PathSwap(), *exchanges(10)) == [SWAP]
    assert told(PathSwap(), *exchanges(100, every_s=2)) == []


def test_a_link_is_made_anew_again_and_again() -> None:
    events = [linked("/" if n % 2 else "/work", "/work/x", at_s=n / 100) for n in range(30)]
    assert told(PathSwap(), *events) == [SWAP]


def test_other_renames_and_many_links_of_different_names() -> None:
    moves = [
        called("renameat2", -100, 1, -100, 2, flags, at_s=n / 100) for n in range(50) for flags in (0, 1)
    ]
    links = [linked("python3", f"/v/bin/{n}", at_s=n / 100) for n in range(200)]
    assert told(PathSwap(), *moves, *links, called("renameat2"), called("rename", 1, 2)) == []


def test_the_next_sandbox_starts_anew() -> None:
    detector = PathSwap()
    told(detector, *exchanges(9))
    detector.forget(SANDBOX)
    assert told(detector, *exchanges(9)) == []

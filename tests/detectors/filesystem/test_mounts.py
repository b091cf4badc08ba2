"""Mounts, and what they undo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, Mounted
from detectors.filesystem.mounting import Mounting
from detectors.filesystem.unmasking import Unmasking
from tests.detectors.making import EPERM, PLAIN, ROOT, STRICT, called, mount_call, told

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE = 0x1, 0x20, 0x1000, 0x2000


@pytest.mark.parametrize(
    ("event", "rule", "severity"),
    [
        (mount_call("mount", source="/tmp/x", target="/m", filesystem="ext4"), "disk-mount", "critical"),
        (mount_call("mount", source="/dev/sda1", target="/m"), "disk-mount", "critical"),
        (mount_call("fsopen", filesystem="virtiofs"), "disk-mount", "critical"),
        (mount_call("mount", filesystem="ext4", result=EPERM), "disk-mount", "high"),
        (mount_call("mount", target="/m", filesystem="proc"), "kernel-filesystem-mount", "critical"),
        (mount_call("fsopen", filesystem="cgroup2", result=EPERM), "kernel-filesystem-mount", "high"),
        (mount_call("mount", target="/m", filesystem="tmpfs"), "mount-inside", "medium"),
        (mount_call("mount", target="/m", filesystem="tmpfs", result=EPERM), "mount-inside", "medium"),
        (mount_call("mount", target="/m", filesystem="overlay"), "mount-inside", "high"),
        (mount_call("mount", source="/tmp", target="/m", flags=MS_BIND), "mount-inside", "medium"),
        (mount_call("open_tree", source="/tmp", flags=1), "mount-inside", "medium"),
        (mount_call("umount2", target="/m"), "mount-inside", "low"),
        (called("fsconfig", 3, 1), "mount-inside", "medium"),
        (called("fspick", 3, result=EPERM), "mount-inside", "medium"),
    ],
)
def test_a_mount(event: Event, rule: str, severity: str) -> None:
    assert told(Mounting(), event) == [(rule, severity)]


def test_a_sandbox_of_our_own_has_no_business_mounting() -> None:
    assert told(Mounting(), mount_call("mount", target="/m", filesystem="tmpfs"), sandbox=STRICT) == [
        ("mount-inside", "high")
    ]


@pytest.mark.parametrize(
    "event",
    [
        mount_call("open_tree", source="/tmp", flags=0x80000),
        mount_call("chroot", target="/m"),
        mount_call("pivot_root", source="/m", target="/m/old"),
        called("renameat2", 1, 2, 3, 4, 2),
    ],
)
def test_no_mount(event: Event) -> None:
    assert told(Mounting(), event) == []


UNMASKED = [
    mount_call("mount", target="/proc/sys", flags=MS_REMOUNT | MS_BIND),
    mount_call("mount", target="/proc/../proc//sys", flags=MS_REMOUNT),
    mount_call("mount", target="/sys", flags=MS_REMOUNT),
    mount_call("mount", source="/proc", target="/m", flags=MS_BIND),
    mount_call("mount", source="/sys/fs/cgroup", target="/m", flags=MS_MOVE),
    mount_call("umount2", target="/proc/self/root/proc/kcore"),
    mount_call("mount_setattr", target="/proc/sys"),
    mount_call("move_mount", source="/proc/sys", target="/m"),
    mount_call("open_tree", source="/proc", flags=1),
    mount_call("open_tree_attr", source="/sys", flags=1),
]


@pytest.mark.parametrize("event", UNMASKED, ids=lambda event: f"{event.syscall} {event.target}")
def test_a_mask_is_taken_away(event: Mounted) -> None:
    assert told(Unmasking(), event) == [("mask-removed", "critical")]
    assert told(Unmasking(), replace(event, result=EPERM)) == [("mask-removed", "high")]
    assert told(Mounting(), event) == []


def test_a_read_only_root_is_made_writable() -> None:
    writable = mount_call("mount", target="/", flags=MS_REMOUNT)
    assert told(Unmasking(), writable, sandbox=STRICT) == [("mask-removed", "critical")]
    assert told(Unmasking(), replace(writable, flags=MS_REMOUNT | MS_RDONLY), sandbox=STRICT) == []
    assert told(Unmasking(), writable, sandbox=PLAIN) == []


def test_a_read_only_mount_is_made_writable() -> None:
    sandbox = replace(PLAIN, mounts=(ROOT, replace(ROOT, target="/data", read_only=True)))
    event = mount_call("mount", target="/data", flags=MS_REMOUNT | MS_BIND)
    assert told(Unmasking(), event, sandbox=sandbox) == [("mask-removed", "critical")]
    assert told(Unmasking(), replace(event, target="/data/x"), sandbox=sandbox) == []


@pytest.mark.parametrize(
    "event",
    [
        mount_call("mount", target="/proc/x", filesystem="tmpfs"),
        mount_call("mount", source="/tmp", target="/m", flags=MS_BIND),
        mount_call("umount2", target="/m"),
        mount_call("open_tree", source="/proc", flags=0),
        mount_call("chroot", target="/proc"),
    ],
)
def test_no_mask_is_taken_away(event: Mounted) -> None:
    assert told(Unmasking(), event) == []

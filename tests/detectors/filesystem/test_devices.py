"""Device nodes: made and opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, FileKind
from detectors.filesystem.block_device import BlockDevice
from detectors.filesystem.device_nodes import DeviceNodes
from detectors.filesystem.devices import Devices
from tests.detectors.making import (
    ENOENT,
    EPERM,
    PLAIN,
    PRIVILEGED,
    SANDBOX,
    device_opened,
    node_made,
    opened,
    told,
)

BLOCK, CHARACTER = FileKind.BLOCK, FileKind.CHARACTER


def test_a_disk_is_opened() -> None:
    assert told(BlockDevice(), device_opened("/opt/.x", BLOCK, 8, 0)) == [("raw-disk", "critical")]


def test_a_disk_that_was_given_is_known_and_still_a_way_out() -> None:
    given = replace(PLAIN, devices=frozenset({8 << 20}))
    assert told(BlockDevice(), device_opened("/dev/sda", BLOCK, 8, 0), sandbox=given) == [
        ("raw-disk", "medium")
    ]
    mighty = replace(PRIVILEGED, devices=given.devices)
    assert told(BlockDevice(), device_opened("/dev/sda", BLOCK, 8, 0), sandbox=mighty) == [
        ("raw-disk", "critical")
    ]


def test_a_node_of_ones_own_that_may_not_be_opened() -> None:
    detector = BlockDevice()
    refused = opened("/tmp/./rawdisk", result=EPERM)
    assert told(detector, refused) == []
    assert told(detector, node_made("/tmp/rawdisk", BLOCK, 254, 0), refused) == [("raw-disk", "critical")]
    detector.forget(SANDBOX)
    assert told(detector, refused) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (opened("/dev/sda", result=EPERM), "high"),
        (opened("/dev/nvme0n1p2", result=EPERM), "high"),
        (opened("/dev/mapper/root", result=EPERM), "high"),
        (opened("/dev/vda", result=ENOENT), "medium"),
    ],
)
def test_a_disk_by_its_name_alone(event: Event, severity: str) -> None:
    assert told(BlockDevice(), event) == [("raw-disk", severity)]


@pytest.mark.parametrize(
    "event",
    [
        node_made("/tmp/pipe", FileKind.FIFO, 0, 0),
        node_made("/tmp/rawdisk", BLOCK, 254, 0, result=EPERM),
        opened("/tmp/rawdisk", result=EPERM),
        opened("/dev/shm/sda", result=EPERM),
        opened("/srv/vda"),
    ],
)
def test_no_disk(event: Event) -> None:
    assert told(BlockDevice(), event) == []


@pytest.mark.parametrize(
    ("event", "rule", "severity"),
    [
        (node_made("/tmp/x", BLOCK, 8, 0), "block-device-node", "high"),
        (node_made("/tmp/x", BLOCK, 8, 0, result=EPERM), "block-device-node", "high"),
        (node_made("/tmp/x", CHARACTER, 1, 1), "device-node", "high"),
        (node_made("/tmp/x", CHARACTER, 10, 229), "device-node", "medium"),
        (node_made("/tmp/x", CHARACTER, 10, 229, result=EPERM), "device-node", "medium"),
    ],
)
def test_a_node_is_made(event: Event, rule: str, severity: str) -> None:
    assert told(DeviceNodes(), event) == [(rule, severity)]


def test_a_node_of_a_disk_is_a_disk_to_who_may_open_it() -> None:
    event = node_made("/tmp/x", BLOCK, 8, 0)
    assert told(DeviceNodes(), event, sandbox=PRIVILEGED) == [("block-device-node", "critical")]


@pytest.mark.parametrize(
    "event",
    [
        node_made("/r/dev/null", CHARACTER, 1, 3),
        node_made("/r/dev/urandom", CHARACTER, 1, 9),
        node_made("/r/dev/tty", CHARACTER, 5, 0),
        node_made("/r/whiteout", CHARACTER, 0, 0),
        node_made("/tmp/pipe", FileKind.FIFO, 0, 0),
        node_made("/tmp/socket", FileKind.SOCKET, 0, 0),
    ],
)
def test_nodes_that_every_root_directory_has(event: Event) -> None:
    assert told(DeviceNodes(), event) == []


def test_a_device_is_opened_that_was_not_given() -> None:
    fuse = device_opened("/dev/fuse", CHARACTER, 10, 229)
    assert told(Devices(), fuse) == [("unexpected-device", "medium")]
    assert told(Devices(), replace(fuse, result=EPERM)) == [("unexpected-device", "low")]
    assert told(Devices(), device_opened("/x", CHARACTER, 202, 0)) == [("unexpected-device", "critical")]
    given = replace(PLAIN, devices=frozenset({10 << 20 | 229}))
    assert told(Devices(), fuse, sandbox=given) == []


@pytest.mark.parametrize(("major", "minor"), [(1, 3), (1, 9), (5, 2), (136, 0), (143, 7), (1, 1), (1, 11)])
def test_devices_that_all_have_or_others_tell_of(major: int, minor: int) -> None:
    assert told(Devices(), device_opened("/dev/x", CHARACTER, major, minor)) == []

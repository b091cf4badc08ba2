"""Spellings of paths."""

from __future__ import annotations

import pytest

from daemon.events import File
from detectors.filesystem.paths import below, kernel_path, location, on_host, plain, tidy
from tests.detectors.making import PLAIN, with_mount


@pytest.mark.parametrize(
    ("passed", "meant"),
    [
        ("/etc/shadow", "/etc/shadow"),
        ("//etc/./../etc//shadow", "/etc/shadow"),
        ("/proc/self/root/etc/shadow", "/etc/shadow"),
        ("/proc/thread-self/root/proc/self/root/etc/shadow", "/etc/shadow"),
        ("/proc/self/task/17/root/etc/shadow", "/etc/shadow"),
        ("/proc/self/root", "/"),
        ("/proc/self/rootkit", "/proc/self/rootkit"),
        ("/proc/1/root/etc/shadow", "/proc/1/root/etc/shadow"),
        ("../../../etc/shadow", "/etc/shadow"),
        ("shadow", "shadow"),
        ("", "."),
    ],
)
def test_detours_are_left_out(passed: str, meant: str) -> None:
    assert plain(passed) == meant


def test_a_detour_by_proc_is_kept_where_it_is_the_point() -> None:
    assert tidy("/proc/self/root/../root/etc") == "/proc/self/root/etc"


def test_what_the_kernel_resolved_is_taken_as_it_is() -> None:
    assert location(File(path="/a/../b")) == "/a/../b"
    assert location(File(path="/a/../b", resolved=False)) == "/b"


@pytest.mark.parametrize(
    ("filesystem", "path", "meant"),
    [
        ("proc", "/proc/sys/vm/x", "/proc/sys/vm/x"),
        ("proc", "/tmp/p/sys/vm/x", "/proc/sys/vm/x"),
        ("proc", "/tmp/p/17/environ", "/proc/17/environ"),
        ("proc", "/tmp/p/kcore", "/proc/kcore"),
        ("sysfs", "/tmp/s/kernel/uevent_helper", "/sys/kernel/uevent_helper"),
        ("overlay", "/tmp/p/sys/vm/x", "/tmp/p/sys/vm/x"),
    ],
)
def test_the_kernels_files_have_one_name_wherever_they_are_mounted(
    filesystem: str, path: str, meant: str
) -> None:
    assert kernel_path(File(path=path, filesystem=filesystem), PLAIN) == meant


def test_a_bind_mount_tells_the_hosts_name() -> None:
    sandbox = with_mount("/proc", "/host/proc")
    assert on_host(File(path="/host/proc/sys/vm/x", resolved=False), sandbox) == "/proc/sys/vm/x"
    assert on_host(File(path="/proc/sys/vm/x", resolved=False), sandbox) == "/proc/sys/vm/x"


def test_below_is_by_components() -> None:
    assert below("/etc/x", "/etc")
    assert below("/etc", "/etc")
    assert below("/etc", "/")
    assert not below("/etcetera", "/etc")

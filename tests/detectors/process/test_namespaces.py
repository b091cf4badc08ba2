"""Into other namespaces, into new ones, to another root, and programs of the sandbox on the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import File, HostExecuted
from daemon.expectation import ExpectedMount
from detectors.process.host_execution import HostExecution
from detectors.process.namespace_creation import NamespaceCreation
from detectors.process.namespace_entry import NamespaceEntry
from detectors.process.root_change import RootChange
from tests.detectors.making import (
    EACCES,
    EPERM,
    HOST_DEVICE,
    NAMESPACES,
    PLAIN,
    PRIVILEGED,
    ROOT_DEVICE,
    STRICT,
    header,
    image_file,
    mount_call,
    namespaces,
    opened,
    told,
)

NEWUSER, NEWNS, NEWNET = 0x1000_0000, 0x2_0000, 0x4000_0000
EBADF = -9


# --- setns and the handles that it needs (proc-nsenter-pid1)


@pytest.mark.parametrize("flags", [0, NEWNS, NEWNET])
@pytest.mark.parametrize("result", [0, EPERM])
def test_setns_is_critical_even_if_refused(flags: int, result: int) -> None:
    assert told(NamespaceEntry(), namespaces("setns", flags, result=result), sandbox=PRIVILEGED) == [
        ("namespace-entry", "critical")
    ]


def test_setns_that_failed_for_another_reason_is_high() -> None:
    assert told(NamespaceEntry(), namespaces("setns", 0, result=EBADF)) == [("namespace-entry", "high")]


@pytest.mark.parametrize(
    "path", ["/proc/1/ns/mnt", "/proc/self/root/proc/1/ns/mnt", "/host/proc/77/task/78/ns/pid_for_children"]
)
def test_a_refused_handle_of_another_process_is_critical(path: str) -> None:
    """The daemon's own init cannot be opened: nsenter gets no further than this."""
    assert told(NamespaceEntry(), opened(path, result=EACCES), sandbox=STRICT) == [
        ("namespace-handle", "critical")
    ]


def test_the_handle_of_a_namespace_that_is_not_ones_own_is_critical() -> None:
    host = File(path="mnt:[4026531841]", filesystem="nsfs", inode=4026531841)
    assert told(NamespaceEntry(), opened("", file=host)) == [("namespace-handle", "critical")]


@pytest.mark.parametrize("kind", NAMESPACES)
def test_the_handle_of_ones_own_namespace_is_in_order(kind: str) -> None:
    own = File(path="net:[1]", filesystem="nsfs", inode=NAMESPACES[kind])
    assert told(NamespaceEntry(), opened("", file=own)) == []


@pytest.mark.parametrize("path", ["/proc/self/ns/net", "/proc/1/ns", "/srv/1/news/mnt", "/proc/1/nsx/mnt"])
def test_refused_opens_of_other_things_are_not_handles(path: str) -> None:
    assert told(NamespaceEntry(), opened(path, result=EACCES)) == []


# --- unshare, clone (proc-unshare-userns)


@pytest.mark.parametrize("syscall", ["unshare", "clone", "clone3"])
@pytest.mark.parametrize("result", [0, EPERM])
def test_a_user_namespace_of_ones_own_is_high_even_if_refused(syscall: str, result: int) -> None:
    event = namespaces(syscall, NEWUSER | NEWNS, result=result)
    assert told(NamespaceCreation(), event) == [("namespace-creation", "high")]


def test_other_namespaces_are_milder_if_refused() -> None:
    assert told(NamespaceCreation(), namespaces("unshare", NEWNS)) == [("namespace-creation", "high")]
    assert told(NamespaceCreation(), namespaces("unshare", NEWNS, result=EPERM)) == [
        ("namespace-creation", "medium")
    ]


def test_unsharing_no_namespace_is_in_order() -> None:
    """unshare(CLONE_FILES), clone of a thread."""
    assert told(NamespaceCreation(), namespaces("unshare", 0), namespaces("clone", 0, result=-11)) == []


# --- chroot, pivot_root


def test_a_new_root_is_high_and_milder_if_refused() -> None:
    assert told(RootChange(), mount_call("chroot", target="/srv/jail")) == [("root-change", "high")]
    assert told(RootChange(), mount_call("pivot_root", source=".", target=".")) == [("root-change", "high")]
    assert told(RootChange(), mount_call("chroot", target="/srv/jail", result=EPERM)) == [
        ("root-change", "medium")
    ]


HOST_MOUNTED = replace(
    PLAIN,
    mounts=(*PLAIN.mounts, ExpectedMount(target="/host", source="/", filesystem="ext4", device=HOST_DEVICE)),
)


@pytest.mark.parametrize("path", ["/host", "/host/", "/proc/1/root", "/proc/self/fd/8"])
def test_a_root_that_leads_to_the_host_is_critical(path: str) -> None:
    assert told(RootChange(), mount_call("chroot", target=path), sandbox=HOST_MOUNTED) == [
        ("root-change", "critical")
    ]
    assert told(RootChange(), mount_call("chroot", target=path, result=EPERM), sandbox=HOST_MOUNTED) == [
        ("root-change", "high")
    ]


def test_other_mount_calls_are_not_its_business() -> None:
    assert told(RootChange(), mount_call("mount", target="/host")) == []


# --- the other way round


def test_a_file_of_the_sandbox_that_runs_on_the_host_is_critical() -> None:
    event = HostExecuted(**header(mnt_ns=4026531841), file=image_file("/tmp/payload", device=ROOT_DEVICE))
    assert told(HostExecution(), event) == [("host-execution", "critical")]

"""Files, sockets and processes of the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.events import Event, File, FileKind, Tier
from daemon.expectation import Expectation
from detectors.filesystem.canary import Canary
from detectors.filesystem.engine_socket import EngineSocket
from detectors.filesystem.file_handle import FileHandle
from detectors.filesystem.foreign_file import ForeignFile
from detectors.filesystem.host_mount import HostMount
from detectors.filesystem.host_socket import HostSocket
from detectors.filesystem.other_process import OtherProcess
from detectors.filesystem.runtime_overwrite import RuntimeOverwrite
from detectors.filesystem.tampering import Tampering
from tests.detectors.making import (
    EACCES,
    ENOENT,
    EPERM,
    PLAIN,
    SANDBOX,
    STRICT,
    called,
    chmodded,
    host_changed,
    linked,
    node_made,
    on,
    opened,
    told,
    unix_connected,
    with_mount,
)

HOST_PIDS = replace(PLAIN, host_namespaces=frozenset({"pid"}))
SOCKET = "/var/run/docker.sock"


# --- mounts of the host


@pytest.mark.parametrize(
    ("source", "event", "severity"),
    [
        ("/", opened("/h/tmp/secret"), "high"),
        ("/", opened("/h/etc/shadow"), "critical"),
        ("/", opened("/h/tmp/x", write=True), "critical"),
        ("/", opened("/h/tmp/x", write=True, result=EACCES), "medium"),
        ("/", opened("/proc/self/root/h/tmp/x", result=EACCES), "medium"),
        ("/", chmodded("/h/tmp/x", 0o777), "critical"),
        ("/", linked("/tmp/x", "/h/tmp/y"), "critical"),
        ("/", node_made("/h/tmp/y", FileKind.FIFO, 0, 0), "critical"),
        ("/etc", opened("/h/hosts"), "high"),
        ("/etc/kubernetes", opened("/h/admin.conf"), "critical"),
        ("/root", opened("/h/notes"), "high"),
        ("/root/.ssh", opened("/h/id_rsa"), "critical"),
        ("/home/ann/.aws", opened("/h/credentials"), "critical"),
        ("/var/run", opened("/h/x"), "high"),
        ("/var/lib/docker", opened("/h/overlay2"), "high"),
        ("/var/lib/kubelet/pods", opened("/h/token"), "critical"),
        ("/var/lib/container-kit", opened("/h/audit"), "critical"),
        ("/proc", opened("/h/cmdline"), "high"),
        ("/proc", opened("/h/1/environ"), "critical"),
        ("/dev", opened("/h/x"), "high"),
    ],
)
def test_a_part_of_the_host_is_used(source: str, event: Event, severity: str) -> None:
    assert told(HostMount(), event, sandbox=with_mount(source, "/h")) == [("host-mount", severity)]


@pytest.mark.parametrize(
    "source",
    [
        *("/srv/data", "/home/ann/project", "/root/project", "/tmp/x", "/opt/app", "/usr/share/zoneinfo"),
        *("/etc/localtime", "/etc/ssl/certs", "/etc/resolv.conf", "/dev/shm", "/dev/dri", "/run/user/1000"),
        "/var/lib/docker/volumes/db/_data",
        "/var/lib/docker/containers/" + "a" * 64 + "/hosts",
        "",
    ],
)
def test_what_containers_are_given_day_by_day(source: str) -> None:
    sandbox = with_mount(source, "/h")
    for event in (opened("/h/x"), opened("/h/x", write=True), chmodded("/h/x", 0o644)):
        assert told(HostMount(), event, sandbox=sandbox) == []


def test_other_places_are_not_the_hosts() -> None:
    for event in (opened("/etc/passwd"), opened("/host"), opened("h/x", result=EACCES), chmodded("x", 0o644)):
        assert told(HostMount(), event, sandbox=with_mount("/", "/h")) == []


def test_what_is_not_there_was_not_used() -> None:
    assert told(HostMount(), opened("/h/x", result=ENOENT), sandbox=with_mount("/", "/h")) == []


def test_our_own_folder_is_the_workspace_of_our_own_sandbox() -> None:
    ours = with_mount("/var/lib/container-kit/workspaces/s1", "/workspace", sandbox=STRICT)
    assert told(HostMount(), opened("/workspace/x", write=True), sandbox=ours) == []


# --- files that are not of the sandbox's mounts


def test_a_file_of_another_mount_namespace() -> None:
    assert told(ForeignFile(), opened("/etc/shadow", foreign_mount=True)) == [("foreign-mount", "critical")]


def test_a_file_outside_of_what_is_mounted() -> None:
    assert told(ForeignFile(), opened("/etc/shadow", outside_root=True)) == [("outside-root", "critical")]


@pytest.mark.parametrize(
    "file",
    [
        File(path="/pipe:[1]", kind=FileKind.FIFO, filesystem="pipefs"),
        File(path="/run/containerd/fifo/1", kind=FileKind.FIFO, filesystem="tmpfs"),
        File(path="/dev/pts/0", kind=FileKind.CHARACTER, filesystem="devpts"),
        File(path="/net:[4026531840]", filesystem="nsfs"),
    ],
)
def test_streams_that_the_engine_handed_in(file: File) -> None:
    assert told(ForeignFile(), opened("", file=file, foreign_mount=True)) == []


def test_files_of_the_sandbox() -> None:
    assert told(ForeignFile(), opened("/etc/shadow")) == []
    assert told(ForeignFile(), opened("/etc/shadow", foreign_mount=True, result=EACCES)) == []


def test_a_file_by_its_handle() -> None:
    assert told(FileHandle(), opened("/", syscall="open_by_handle_at")) == [("file-by-handle", "critical")]
    assert told(FileHandle(), called("open_by_handle_at", result=EPERM)) == [("file-by-handle", "high")]
    assert told(FileHandle(), opened("/"), called("name_to_handle_at")) == []


# --- sockets


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (unix_connected(SOCKET), "critical"),
        (unix_connected("/proc/self/root/var/run/../run/docker.sock"), "critical"),
        (unix_connected("/run/containerd/containerd.sock"), "critical"),
        (unix_connected("/run/container-kit/api.sock"), "critical"),
        (unix_connected("@/containerd-shim/moby/1/shim.sock"), "critical"),
        (unix_connected("/proc/self/fd/3", file=File(path=SOCKET), foreign_mount=True), "critical"),
        (unix_connected(SOCKET, result=EACCES), "high"),
        (unix_connected(SOCKET, result=ENOENT), "medium"),
        (opened(SOCKET, file=File(path=SOCKET, kind=FileKind.SOCKET)), "high"),
        (opened(SOCKET, result=-6), "medium"),
    ],
)
def test_a_socket_of_an_engine(event: Event, severity: str) -> None:
    assert told(EngineSocket(), event) == [("engine-socket", severity)]


def test_a_socket_of_an_engine_by_what_was_mounted() -> None:
    for source, path in (
        ("/run/docker.sock", "/h"),
        ("/run", "/h/docker.sock"),
        ("/", "/h/run/crio/crio.sock"),
    ):
        assert told(EngineSocket(), unix_connected(path), sandbox=with_mount(source, "/h")) == [
            ("engine-socket", "critical")
        ]


def test_a_socket_of_an_engine_behind_links() -> None:
    detector = EngineSocket()
    links = (linked(SOCKET, "/tmp/s"), linked("/tmp/s", "/tmp/t"), linked("/tmp/x", "/tmp/y"))
    assert told(detector, *links, unix_connected("/tmp/y")) == []
    assert told(detector, unix_connected("/tmp/../tmp/t")) == [("engine-socket", "critical")]
    detector.forget(SANDBOX)
    assert told(detector, unix_connected("/tmp/t")) == []


@pytest.mark.parametrize(
    "event",
    [
        unix_connected("/tmp/tmux-0/default"),
        unix_connected("/var/run/nscd/socket", result=ENOENT),
        unix_connected("@/tmp/.X11-unix/X0"),
        unix_connected(""),
        opened("/srv/docker.sock", file=File(path="/srv/docker.sock", kind=FileKind.REGULAR)),
    ],
)
def test_no_socket_of_an_engine(event: Event) -> None:
    assert told(EngineSocket(), event) == []


def test_a_socket_that_controls_the_host() -> None:
    bus, mounted = "/run/dbus/system_bus_socket", with_mount("/run/dbus", "/run/dbus")
    assert told(HostSocket(), unix_connected(bus), sandbox=mounted) == [("host-control-socket", "critical")]
    assert told(HostSocket(), unix_connected(bus, result=EACCES), sandbox=mounted) == [
        ("host-control-socket", "high")
    ]
    assert told(HostSocket(), unix_connected(bus, result=ENOENT), sandbox=mounted) == []
    assert told(HostSocket(), unix_connected(bus), sandbox=PLAIN) == []
    assert told(HostSocket(), unix_connected("/run/dbus/x"), sandbox=mounted) == []


def test_a_socket_that_controls_the_host_under_another_name() -> None:
    bus = File(path="/run/dbus/system_bus_socket")
    found = [("host-control-socket", "critical")]
    for path in ("/srv/bus", "bus", "/proc/self/fd/3"):
        assert told(HostSocket(), unix_connected(path, file=bus, foreign_mount=True)) == found
    assert told(HostSocket(), unix_connected("/srv/bus", file=bus)) == []


# --- processes


@pytest.mark.parametrize(
    ("event", "own", "host"),
    [
        (on("proc", "/proc/4711/environ"), "low", "high"),
        (on("proc", "/proc/4711/task/4712/mem", write=True), "low", "critical"),
        (opened("/proc/4711/root/etc/shadow", result=EACCES), "low", "medium"),
        (opened("/proc/4711/fd/3", result=EACCES), "low", "medium"),
        (opened("/proc/4711/maps", result=EACCES), "low", "low"),
    ],
)
def test_files_of_another_process(event: Event, own: str, host: str) -> None:
    """In the sandbox's own pid namespace it may be a debugger's child."""
    assert told(OtherProcess(), event) == [("process-files", own)]
    assert told(OtherProcess(), event, sandbox=HOST_PIDS) == [("process-files", host)]


@pytest.mark.parametrize(
    "event",
    [
        on("proc", "/proc/4711/cmdline"),
        on("proc", "/proc/4711/stat"),
        on("proc", "/proc/4711/fd"),
        on("proc", "/proc/4711/maps"),
        on("proc", "/proc/100/environ"),
        on("overlay", "/srv/4711/environ"),
        opened("/proc/4711/environ", result=ENOENT),
    ],
)
def test_files_that_ps_and_lsof_read_and_ones_own(event: Event) -> None:
    assert told(OtherProcess(), event, sandbox=HOST_PIDS) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (opened("/usr/bin/runc", foreign_mount=True, write=True), "critical"),
        (opened("/usr/bin/runc", foreign_mount=True), "high"),
        (opened("/memfd:runc_cloned:/proc/self/exe (deleted)"), "high"),
        (opened("/proc/17/exe", write=True, result=-26), "high"),
        (opened("/proc/self/exe", write=True, result=-26), "high"),
        (opened("/proc/17/task/17/exe", write=True, result=EACCES), "high"),
    ],
)
def test_the_runtimes_program(event: Event, severity: str) -> None:
    assert told(RuntimeOverwrite(), event) == [("runtime-overwrite", severity)]


def test_the_runtimes_program_by_a_mount() -> None:
    sandbox = with_mount("/usr/bin", "/h")
    event = opened("/h/containerd-shim-runc-v2", write=True)
    assert told(RuntimeOverwrite(), event, sandbox=sandbox) == [("runtime-overwrite", "critical")]


@pytest.mark.parametrize(
    "event",
    [
        opened("/usr/bin/runc", write=True),
        opened("/usr/bin/runc"),
        opened("/proc/self/exe", file=File(path="/usr/bin/node")),
        opened("/srv/exe", write=True, result=EACCES),
        opened("/usr/bin/id", foreign_mount=True, write=True),
    ],
)
def test_no_program_of_the_hosts_runtime(event: Event) -> None:
    """A container may have a runtime of its own."""
    assert told(RuntimeOverwrite(), event) == []


# --- what is watched on the host

HOST = Expectation(container_id="")


def test_a_canary() -> None:
    for change in ("opened", "modified", "deleted"):
        assert told(Canary(), host_changed("/root/x", change, "canary"), sandbox=HOST) == [
            ("canary-touched", "critical")
        ]
    assert told(Canary(), host_changed("/root/x", "modified", "config"), sandbox=HOST) == []


def test_a_guarded_file() -> None:
    denied = opened("/root/x", file=File(path="/root/x", inode=7), result=EPERM)
    assert told(Canary(), replace(denied, tier=Tier.NETLINK)) == [("guarded-file", "critical")]
    assert told(Canary(), replace(denied, tier=Tier.NETLINK, result=3)) == []
    assert told(Canary(), opened("/root/x", result=EPERM)) == []


@pytest.mark.parametrize(
    ("change", "role", "rule", "severity"),
    [
        ("modified", "config", "daemon-tampering", "high"),
        ("created", "profiles", "daemon-tampering", "high"),
        ("deleted", "audit", "daemon-tampering", "critical"),
        ("moved", "audit", "daemon-tampering", "critical"),
        ("attributes", "audit", "daemon-tampering", "high"),
        ("deleted", "socket", "daemon-tampering", "high"),
        ("attributes", "engine", "daemon-tampering", "high"),
        ("modified", "persistence", "host-persistence", "high"),
        ("created", "persistence", "host-persistence", "high"),
    ],
)
def test_a_file_of_the_host_is_changed(change: str, role: str, rule: str, severity: str) -> None:
    assert told(Tampering(), host_changed("/x", change, role), sandbox=HOST) == [(rule, severity)]


@pytest.mark.parametrize(
    ("change", "role"),
    [
        ("modified", "audit"),
        ("created", "audit"),
        ("opened", "config"),
        ("opened", "persistence"),
        ("deleted", ""),
    ],
)
def test_the_daemons_own_work_and_reading(change: str, role: str) -> None:
    assert told(Tampering(), host_changed("/x", change, role), sandbox=HOST) == []

"""Every kind of event, made by one real action of one real sandbox."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.events import (
    Connected,
    DatagramSent,
    Drift,
    Event,
    FileKind,
    FileLinked,
    FileMapped,
    FileOpened,
    Listened,
    ModeChanged,
    Mounted,
    NamespaceChanged,
    NodeMade,
    ProcessExecuted,
    ProcessExited,
    ProcessTouched,
    SocketCreated,
    SyscallMade,
)
from daemon.sensors.hooks import RING_TRACEPOINTS
from tests.sensors.watching import OPEN, Watching

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]
NEW_USER, NEW_NS = 0x1000_0000, 0x0002_0000


# --- mounts


def test_mount(watching: Watching) -> None:
    run = watching.act("mount", "source", "/tmp", "tmpfs")
    made = watching.one(run.container, Mounted)
    assert (made.syscall, made.result, made.source, made.target, made.filesystem) == (
        "mount",
        0,
        "source",
        "/tmp",
        "tmpfs",
    )


def test_a_mount_that_seccomp_refuses_is_seen_as_well(watching: Watching) -> None:
    run = watching.act("mount", "source", "/tmp", "tmpfs", options=())
    assert run.result == (-1, errno.EPERM)
    made = watching.one(run.container, Mounted)
    assert made.refused
    assert made.target == "/tmp"


def test_a_mount_by_the_32_bit_table(watching: Watching) -> None:
    run = watching.act("int80", "21", "source", "/tmp", "tmpfs")
    made = watching.one(run.container, Mounted)
    assert made.compat
    assert (made.syscall, made.result, made.target) == ("mount", 0, "/tmp")


def test_a_mount_whose_strings_are_not_resident_at_its_begin(watching: Watching) -> None:
    """At the end of the call they are: the kernel has read them."""
    run = watching.act("hidden-mount", "/var")
    assert run.result == (0, 0)
    assert watching.one(run.container, Mounted).target == "/var"


def test_chroot_is_a_drift_of_the_root(watching: Watching) -> None:
    run = watching.act("chroot", "/etc")
    made = watching.one(run.container, Mounted)
    assert (made.syscall, made.target, made.drift) == ("chroot", "/etc", Drift.ROOT)


# --- namespaces


def test_unshare(watching: Watching) -> None:
    run = watching.act("unshare", hex(NEW_USER))
    made = watching.one(run.container, NamespaceChanged)
    assert (made.syscall, made.result, made.flags) == ("unshare", 0, NEW_USER)
    assert Drift.USER_NAMESPACE in made.drift


def test_a_refused_unshare(watching: Watching) -> None:
    run = watching.act("unshare", hex(NEW_USER), options=())
    assert watching.one(run.container, NamespaceChanged).refused


@pytest.mark.parametrize("call", ["clone", "clone3"])
def test_clone_into_a_namespace(watching: Watching, call: str) -> None:
    run = watching.act(call, hex(NEW_NS))
    made = watching.one(run.container, NamespaceChanged)
    assert (made.syscall, made.flags) == (call, NEW_NS)
    assert made.result > 0


def test_fork_is_no_change_of_namespace(watching: Watching) -> None:
    run = watching.act("spawn", "3", "1")
    assert watching.events(run.container, NamespaceChanged) == []


def test_joining_the_hosts_mount_namespace(watching: Watching) -> None:
    """As an escape ends: CAP_SYS_ADMIN and the host's pids, and a file of the host is read."""
    mine = f"/proc/{os.getpid()}/ns/mnt"
    run = watching.act("setns", mine, hex(NEW_NS), "/etc/passwd", options=(*OPEN, "--pid=host"))
    made = watching.one(run.container, NamespaceChanged)
    assert (made.syscall, made.flags) == ("setns", NEW_NS)
    assert Drift.MOUNT_NAMESPACE in made.drift


# --- files


def opened(watching: Watching, *command: str, options: tuple[str, ...] = OPEN) -> list[FileOpened]:
    return watching.events(watching.act(*command, options=options).container, FileOpened)


def test_an_ordinary_open_is_not_reported(watching: Watching) -> None:
    assert opened(watching, "open", "/etc/passwd", "0") == []
    assert opened(watching, "open", "/dev/null", "1") == []
    assert opened(watching, "open", "/tmp/mine", hex(0o101)) == []


def test_a_watched_name(watching: Watching) -> None:
    (event,) = opened(watching, "open", "/etc/canary", "0")
    assert event.file.path == "/etc/canary"
    assert event.file.resolved
    assert event.file.filesystem == "overlay"
    assert event.file.kind == FileKind.REGULAR
    assert (event.write, event.create, event.foreign_mount, event.outside_root) == (False,) * 4


@pytest.mark.parametrize(
    "path", ["/proc/self/root/etc/canary", "/proc/self/cwd/etc/canary", "/tmp/../etc/./canary"]
)
def test_a_path_by_detours_is_resolved(watching: Watching, path: str) -> None:
    (event,) = opened(watching, "open", path, "0")
    assert event.file.path == "/etc/canary"


def test_a_symlink_is_resolved(watching: Watching) -> None:
    run = watching.run("sh", "-c", "ln -s /etc/canary /tmp/dull; /act open /tmp/dull 0", options=OPEN)
    (event,) = watching.events(run.container, FileOpened)
    assert event.file.path == "/etc/canary"


def test_a_watched_name_that_is_not_there(watching: Watching) -> None:
    (event,) = opened(watching, "open", "/var/run/docker.sock", "0")
    assert (event.file.path, event.file.resolved, event.result) == (
        "/var/run/docker.sock",
        False,
        -errno.ENOENT,
    )


def test_openat2(watching: Watching) -> None:
    (event,) = opened(watching, "openat2", "/etc/canary", "0")
    assert event.syscall == "openat2"


def test_an_open_by_the_32_bit_table(watching: Watching) -> None:
    (event,) = opened(watching, "int80", "5", "/etc/canary")
    assert (event.syscall, event.compat, event.file.path) == ("open", True, "/etc/canary")


def test_an_open_that_is_refused(watching: Watching) -> None:
    command = ("open", "/etc/passwd", "1")
    (event,) = opened(watching, *command, options=("--user=1000",))
    assert event.refused
    assert (event.file.path, event.file.resolved, event.write) == ("/etc/passwd", False, True)


def test_a_write_below_a_system_folder(watching: Watching) -> None:
    (event,) = opened(watching, "open", "/etc/new", hex(0o101))
    assert (event.file.path, event.write, event.create, event.fresh) == ("/etc/new", True, True, True)


def test_a_write_below_a_folder_three_levels_down(watching: Watching) -> None:
    """The database of packages is watched, what else lies in /var/lib is not."""
    script = "mkdir -p /var/lib/dpkg/info /var/lib/data; >/var/lib/dpkg/info/x; >/var/lib/data/x"
    run = watching.run("sh", "-c", script)
    assert [e.file.path for e in watching.events(run.container, FileOpened)] == ["/var/lib/dpkg/info/x"]


def test_a_write_to_the_kernels_files(watching: Watching) -> None:
    (event,) = opened(watching, "open", "/proc/self/oom_score_adj", "1")
    assert (event.file.filesystem, event.write) == ("proc", True)
    assert event.file.path.endswith("/oom_score_adj")


def test_the_folder_of_another_process(watching: Watching) -> None:
    events = opened(watching, "open", "/proc/1/environ", "0")
    assert events == []  # pid 1 is the act itself
    run = watching.run("sh", "-c", "/act open /proc/1/environ 0; true", options=OPEN)
    (event,) = watching.events(run.container, FileOpened)
    assert event.file.path == "/proc/1/environ"


def test_a_block_device(watching: Watching) -> None:
    run = watching.run("sh", "-c", "mknod /tmp/disk b 7 99; /act open /tmp/disk 0", options=OPEN)
    node = watching.one(run.container, NodeMade)
    assert (node.file.kind, node.file.node_device) == (FileKind.BLOCK, 7 << 20 | 99)
    (event,) = watching.events(run.container, FileOpened)
    assert event.refused  # by the device controller


def test_a_file_outside_the_mounts_root(watching: Watching, tmp_path: Path) -> None:
    """open_by_handle_at with CAP_DAC_READ_SEARCH: the mount is of one folder, the file is beside it."""
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    inside.mkdir()
    beside.write_text("secret")
    options = (*OPEN, f"--volume={inside}:/inside", f"--volume={beside}:/given")
    run = watching.act("handle", "/inside", "/given", options=options)
    if run.result[0] < 0:
        pytest.skip("the file system of the temporary folder has no handles")
    found = [e for e in watching.events(run.container, FileOpened) if e.syscall == "open_by_handle_at"]
    assert len(found) == 1
    assert found[0].outside_root
    assert not found[0].foreign_mount


def test_a_file_of_another_mount_namespace(watching: Watching) -> None:
    """By /proc/PID/root of a process in a mount namespace of its own."""
    look = "for p in $(pidof sleep); do /act open /proc/$p/root/etc/canary 0; done"
    script = f"unshare -m sleep 5 & sleep 0.5; {look}"
    run = watching.run("sh", "-c", script, options=OPEN)
    foreign = [e for e in watching.events(run.container, FileOpened) if e.foreign_mount]
    assert [e.file.path for e in foreign][:1] == ["/etc/canary"]


def test_a_watched_device(watching: Watching, tmp_path: Path) -> None:
    (tmp_path / "dull").write_text("x")
    number = tmp_path.stat().st_dev
    device = (number >> 8 & 0xFFF) << 20 | number & 0xFF
    watching.do(watching.sensor.watch_device, device)
    try:
        events = opened(watching, "open", "/host/dull", "0", options=(*OPEN, f"--volume={tmp_path}:/host"))
    finally:
        watching.do(watching.sensor.unwatch_device, device)
    found = [e for e in events if e.file.path == "/host/dull"]
    assert len(found) == 1
    assert found[0].file.device == device


def test_links(watching: Watching) -> None:
    run = watching.act("symlink", "/etc/shadow", "/tmp/link")
    event = watching.one(run.container, FileLinked)
    assert (event.target, event.link, event.symbolic, event.result) == ("/etc/shadow", "/tmp/link", True, 0)
    run = watching.act("link", "/etc/passwd", "/etc/hard")
    event = watching.one(run.container, FileLinked)
    assert (event.target, event.link, event.symbolic) == ("/etc/passwd", "/etc/hard", False)


def test_modes(watching: Watching) -> None:
    run = watching.act("chmod", "/act", "04755")
    event = watching.one(run.container, ModeChanged)
    assert (event.file.path, event.file.resolved, event.mode) == ("/act", False, 0o4755)
    run = watching.act("fchmod", "/act", "02755")
    event = watching.one(run.container, ModeChanged)
    assert (event.file.path, event.file.resolved, event.mode) == ("/act", True, 0o2755)
    run = watching.act("chmod", "/act", "0755")
    assert watching.events(run.container, ModeChanged) == []


def test_mknod(watching: Watching) -> None:
    run = watching.act("mknod", "/tmp/mem", hex(stat.S_IFCHR | 0o600), "1", "1", options=())
    event = watching.one(run.container, NodeMade)
    assert (event.file.path, event.file.kind, event.file.node_device) == (
        "/tmp/mem",
        FileKind.CHARACTER,
        1 << 20 | 1,
    )
    run = watching.act("mknod", "/tmp/fifo", hex(stat.S_IFIFO | 0o600), "0", "0")
    assert watching.events(run.container, NodeMade) == []


# --- memory and programs


def test_mapping_a_fresh_file_as_code(watching: Watching) -> None:
    run = watching.run("sh", "-c", "cp /act /tmp/payload; /act map /tmp/payload; /act map /act", options=OPEN)
    event = watching.one(run.container, FileMapped)
    assert event.file is not None
    assert (event.file.path, event.execute, event.fresh) == ("/tmp/payload", True, True)


def test_writable_code_is_reported_once_a_task(watching: Watching) -> None:
    run = watching.act("writable-code")
    (event,) = (e for e in watching.events(run.container, Event) if getattr(e, "syscall", "") == "mmap")
    assert isinstance(event, FileMapped)
    assert (event.file, event.write, event.execute) == (None, True, True)


def test_a_program_from_memory(watching: Watching) -> None:
    run = watching.act("memfd")
    assert watching.one(run.container, SyscallMade, syscall="memfd_create").result >= 0
    event = watching.events(run.container, ProcessExecuted)[-1]
    assert event.argv == ("from-memory", "true")
    assert event.file.path == "/memfd:payload"
    assert event.fresh
    assert event.file.links == 0


def test_a_fresh_program(watching: Watching) -> None:
    run = watching.run("sh", "-c", "cp /act /tmp/dropped; /tmp/dropped nap 1; /act nap 1")
    fresh = {e.file.path: e.fresh for e in watching.events(run.container, ProcessExecuted)}
    assert fresh["/tmp/dropped"] is True
    assert fresh["/act"] is False
    assert fresh["/bin/busybox"] is False


def test_preloads_and_no_other_variable(watching: Watching) -> None:
    options = ("--env=LD_PRELOAD=/tmp/x.so", "--env=SECRET=hunter2")
    run = watching.run("/act", "nap", "1", options=options)
    event = watching.one(run.container, ProcessExecuted)
    assert event.preloads == ("LD_PRELOAD=/tmp/x.so",)
    assert "hunter2" not in repr(event)


def test_a_shell_on_a_socket(watching: Watching) -> None:
    script = "nc -l -p 4444 -e true & sleep 0.3; nc 127.0.0.1 4444 </dev/null; wait"
    run = watching.run("sh", "-c", f"ip link set lo up 2>/dev/null; {script}")
    stdio = [e.inet_stdio for e in watching.events(run.container, ProcessExecuted) if e.argv == ("true",)]
    assert stdio == [frozenset({0, 1, 2})] or stdio == [frozenset({0, 1})]


def test_a_set_uid_program(watching: Watching) -> None:
    script = "cp /act /var/suid; chmod 4755 /var/suid; su user -s /bin/sh -c '/var/suid nap 1'"
    run = watching.run("sh", "-c", script)
    event = next(e for e in watching.events(run.container, ProcessExecuted) if e.file.path == "/var/suid")
    assert event.privileged_by_file
    assert event.process.uid == 0


def test_a_program_that_cannot_be_started(watching: Watching) -> None:
    run = watching.act("exec", "/etc/passwd")
    event = watching.one(run.container, SyscallMade, syscall="execve")
    assert event.refused


def test_exit_codes_and_signals(watching: Watching) -> None:
    run = watching.run("sh", "-c", "(exit 7); sh -c 'kill -TERM $$'; exit 3")
    assert [(e.code, e.signal) for e in watching.events(run.container, ProcessExited)] == [
        (7, 0),
        (0, 15),
        (3, 0),
    ]


# --- other processes


def test_ptrace_of_a_child(watching: Watching) -> None:
    run = watching.act("ptrace-child")
    event = watching.one(run.container, ProcessTouched)
    assert (event.syscall, event.request, event.descendant, event.result) == ("ptrace", 16, True, 0)


def test_ptrace_of_a_stranger(watching: Watching) -> None:
    run = watching.run("sh", "-c", "/act ptrace 1; true", options=OPEN)
    event = watching.one(run.container, ProcessTouched)
    assert (event.request, event.descendant, event.target_pid) == (0x4206, False, 1)


def test_reading_the_memory_of_a_stranger(watching: Watching) -> None:
    run = watching.run("sh", "-c", "/act vm-read 1; true", options=OPEN)
    event = watching.one(run.container, ProcessTouched)
    assert (event.syscall, event.target_pid, event.descendant) == ("process_vm_readv", 1, False)


def test_stealing_a_descriptor(watching: Watching) -> None:
    event = watching.one(watching.act("steal-descriptor").container, ProcessTouched)
    assert (event.syscall, event.descendant) == ("pidfd_getfd", True)
    run = watching.run("sh", "-c", "/act steal-descriptor 1; true", options=OPEN)
    event = watching.one(run.container, ProcessTouched)
    assert (event.result >= 0, event.descendant) == (True, False)


# --- sockets


def test_a_raw_socket(watching: Watching) -> None:
    run = watching.act("socket", str(socket.AF_INET), str(socket.SOCK_RAW | socket.SOCK_CLOEXEC), "1")
    event = watching.one(run.container, SocketCreated)
    assert (event.family, event.type, event.protocol) == (socket.AF_INET, socket.SOCK_RAW, 1)


@pytest.mark.parametrize(
    ("address", "seen"), [("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("fd00::1", "fd00::1")]
)
def test_a_connection_that_is_tried(watching: Watching, address: str, seen: str) -> None:
    run = watching.act("connect", address, "443")
    event = watching.one(run.container, Connected, syscall="connect")
    assert (event.address, event.port) == (seen, 443)
    assert event.result in (-errno.ENETUNREACH, -errno.EADDRNOTAVAIL)


def test_a_handshake_is_seen_as_it_begins(watching: Watching) -> None:
    run = watching.act("connect", "127.0.0.1", "9")
    begun = watching.one(run.container, Connected, syscall="tcp_connect")
    assert (begun.address, begun.port) == ("127.0.0.1", 9)
    assert watching.one(run.container, Connected, syscall="connect").result == -errno.ECONNREFUSED


def test_listening(watching: Watching) -> None:
    run = watching.act("bind", "0.0.0.0", "4444")
    assert [(e.syscall, e.address, e.port) for e in watching.events(run.container, Listened)] == [
        ("bind", "0.0.0.0", 4444),
        ("listen", "0.0.0.0", 4444),
    ]


def test_a_unix_socket_by_its_inode(watching: Watching) -> None:
    run = watching.act("unix", "/tmp/engine.sock", "listen")
    event = watching.one(run.container, Connected)
    assert (event.family, event.path, event.result) == (socket.AF_UNIX, "/tmp/engine.sock", 0)
    assert event.file is not None
    assert event.file.inode > 0


@pytest.fixture
def host_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        yield path


@pytest.mark.parametrize(
    ("way", "call"), [("", "connect"), ("socketcall", "connect"), ("ring", "io_uring:connect")]
)
def test_a_unix_socket_of_the_host_by_where_it_is_bound(
    watching: Watching, host_socket: Path, way: str, call: str
) -> None:
    """Whatever it is called inside, and whichever way it is reached."""
    script = f"exec 7</srv; /act unix /proc/self/fd/7/queue {way}"
    run = watching.run("sh", "-c", script, options=(*OPEN, f"--volume={host_socket}:/srv/queue"))
    assert run.result[0] == 0
    event = watching.one(run.container, Connected, syscall=call, result=0)
    assert (event.family, event.path) == (socket.AF_UNIX, "/proc/self/fd/7/queue")
    assert event.file is not None
    assert (event.file.path, event.foreign_mount) == (str(host_socket), True)
    assert event.compat == (way == "socketcall")


def test_a_unix_socket_of_ones_own_is_not_foreign(watching: Watching) -> None:
    run = watching.act("unix", "/tmp/engine.sock", "listen")
    event = watching.one(run.container, Connected)
    assert event.file is not None
    assert (event.file.path, event.foreign_mount) == ("/tmp/engine.sock", False)


def test_an_abstract_socket(watching: Watching) -> None:
    run = watching.act("unix", "@hidden")
    event = watching.one(run.container, Connected)
    assert (event.path, event.result, event.file) == ("@hidden", -errno.ECONNREFUSED, None)


@pytest.mark.parametrize("call", ["sendto", "sendmsg", "sendmmsg", "send"])
def test_a_name_that_is_asked_for(watching: Watching, call: str) -> None:
    run = watching.act("send", call, "127.0.0.1", "53")
    event = watching.one(run.container, DatagramSent)
    assert (event.address, event.port, event.query, event.size) == ("127.0.0.1", 53, "evil.example.com", 34)


# --- io_uring and the rest


def by_ring(watching: Watching, path: str, folder: str) -> list[FileOpened]:
    run = watching.run("sh", "-c", f"cd {folder}; /act ring-open {path}", options=OPEN)
    if "on" not in (watching.sensor.hooks[name] for name in RING_TRACEPOINTS) or run.result[0] < 0:
        pytest.skip("this kernel has no io_uring")
    assert watching.one(run.container, SyscallMade, syscall="io_uring_setup").result >= 0
    return watching.events(run.container, FileOpened)


@pytest.mark.parametrize(
    ("path", "folder", "passed"),
    [
        ("/etc/canary", "/", "/etc/canary"),
        ("canary", "/etc", "/etc/canary"),
        ("/proc/self/cwd/canary", "/etc", "/proc/self/cwd/canary"),
    ],
)
def test_io_uring_opens_are_seen_as_asked_for_and_as_done(
    watching: Watching, path: str, folder: str, passed: str
) -> None:
    asked, *done = by_ring(watching, path, folder)
    assert (asked.syscall, asked.file.path, asked.file.resolved) == ("io_uring:openat", passed, False)
    if watching.sensor.hooks["on_ring_completion"] == "on":
        (event,) = done
        assert (event.file.path, event.file.resolved, event.write) == ("/etc/canary", True, False)
        assert event.result > 2


def test_dull_opens_by_io_uring_are_only_asked_for(watching: Watching) -> None:
    assert len(by_ring(watching, "/etc/passwd", "/")) == 1


def test_a_call_with_no_event_of_its_own(watching: Watching) -> None:
    run = watching.act("call", "250", options=())  # keyctl
    event = watching.one(run.container, SyscallMade, syscall="keyctl")
    assert event.refused


def test_a_full_file_system_is_reported_once_a_second(watching: Watching) -> None:
    script = "for i in 1 2 3; do dd if=/dev/zero of=/small/file bs=64k count=4 2>/dev/null; done; true"
    run = watching.run("sh", "-c", script, options=("--tmpfs=/small:size=64k",))
    full = [e for e in watching.events(run.container, SyscallMade) if e.result == -errno.ENOSPC]
    assert 1 <= len(full) <= 3


def test_the_limit_of_processes(watching: Watching) -> None:
    script = "for i in $(seq 20); do sleep 1 & done"
    run = watching.run("sh", "-c", script, options=("--pids-limit=16",))
    assert any(e.result == -errno.EAGAIN for e in watching.events(run.container, SyscallMade))

"""Events as the kernel's sensor would report them, and what two usual sandboxes may be."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from daemon.events import (
    Connected,
    DatagramSent,
    Drift,
    Enrolled,
    Event,
    File,
    FileKind,
    FileLinked,
    FileMapped,
    FileOpened,
    HostFileChanged,
    LimitReached,
    Listened,
    ModeChanged,
    Mounted,
    NamespaceChanged,
    NodeMade,
    Process,
    ProcessExecuted,
    ProcessExited,
    ProcessForked,
    ProcessTouched,
    SocketCreated,
    SyscallMade,
    Tier,
)
from daemon.expectation import Expectation, ExpectedMount
from daemon.findings import Finding
from detectors import Detector

SANDBOX = "c" * 64
SECOND_NS = 1_000_000_000
ROOT_DEVICE, TMP_DEVICE, SHM_DEVICE, HOST_DEVICE = 47, 61, 62, 254 << 20
ALL_CAPABILITIES = (1 << 41) - 1
DOCKER_CAPABILITIES = 0xA80425FB
EPERM, EACCES, ENOSYS, EAGAIN = -errno.EPERM, -errno.EACCES, -errno.ENOSYS, -errno.EAGAIN
EROFS, ENOENT, ENETUNREACH = -errno.EROFS, -errno.ENOENT, -errno.ENETUNREACH
EINPROGRESS, ECONNREFUSED = -errno.EINPROGRESS, -errno.ECONNREFUSED

ROOT = ExpectedMount(target="/", source="", filesystem="overlay", device=ROOT_DEVICE)
SHM = ExpectedMount(target="/dev/shm", source="", filesystem="tmpfs", device=SHM_DEVICE, executable=False)
TMP = ExpectedMount(target="/tmp", source="", filesystem="tmpfs", device=TMP_DEVICE, executable=False)

PLAIN = Expectation(
    container_id=SANDBOX,
    capabilities=DOCKER_CAPABILITIES,
    mounts=(ROOT, SHM),
)
"""`docker run IMAGE`: root, the default capabilities, a writable root."""

PRIVILEGED = replace(
    PLAIN, capabilities=ALL_CAPABILITIES, privileged=True, seccomp=False, host_namespaces=frozenset({"pid"})
)

STRICT = Expectation(
    container_id=SANDBOX,
    sandbox_id="s1",
    profile="strict",
    uid=65534,
    no_new_privileges=True,
    read_only_root=True,
    mounts=(replace(ROOT, read_only=True), SHM, TMP),
    fresh_exec=False,
    exec_allowed=False,
)
"""A sandbox of the daemon's own with the tightest profile."""


def with_mount(
    source: str, target: str, *, read_only: bool = False, sandbox: Expectation = PLAIN
) -> Expectation:
    """`docker run -v SOURCE:TARGET IMAGE`."""
    mount = ExpectedMount(
        target=target, source=source, filesystem="bind", device=HOST_DEVICE, read_only=read_only
    )
    return replace(sandbox, mounts=(*sandbox.mounts, mount))


OF_EXECUTIONS = ("preloads", "inet_stdio", "privileged_by_file", "fresh")
NAMESPACES = {"mnt_ns": 4026532300, "pid_ns": 4026532301, "net_ns": 4026532302, "user_ns": 4026531837}


def process(pid: int = 100, ppid: int = 99, **facts: Any) -> Process:
    return Process(**{"pid": pid, "tid": pid, "ppid": ppid, "comm": "sh", **NAMESPACES, **facts})


def header(
    at_s: float = 0, pid: int = 100, ppid: int = 99, drift: Drift = Drift.NONE, **facts: Any
) -> dict[str, Any]:
    return {
        "time_ns": int(at_s * SECOND_NS),
        "sandbox": SANDBOX,
        "tier": Tier.EBPF,
        "process": process(pid, ppid, **facts),
        "drift": drift,
    }


def image_file(path: str, **facts: Any) -> File:
    return File(**{"path": path, "device": ROOT_DEVICE, "inode": 1000, "filesystem": "overlay", **facts})


def executed(*argv: str, path: str = "", file: File | None = None, **facts: Any) -> ProcessExecuted:
    """`path` is where the kernel found it, argv[0] if not given."""
    own = {name: facts.pop(name) for name in OF_EXECUTIONS if name in facts}
    return ProcessExecuted(**header(**facts), **own, file=file or image_file(path or argv[0]), argv=argv)


def fresh(path: str, *, inode: int = 5000, **facts: Any) -> File:
    """One that was written after the sandbox's start."""
    return image_file(path, inode=inode, **facts)


def called(syscall: str, *arguments: int, result: int = 0, compat: bool = False, **facts: Any) -> SyscallMade:
    return SyscallMade(**header(**facts), syscall=syscall, arguments=arguments, result=result, compat=compat)


OF_OPENS = ("create", "foreign_mount", "outside_root", "fresh", "syscall")


def opened(path: str, *, result: int = 3, write: bool = False, **facts: Any) -> FileOpened:
    """A refused or failed open reached no file: the path is the string that was passed."""
    file = facts.pop("file", None) or (image_file(path) if result >= 0 else File(path=path, resolved=False))
    own = {"syscall": "openat"} | {name: facts.pop(name) for name in OF_OPENS if name in facts}
    return FileOpened(**header(**facts), **own, result=result, file=file, write=write)


def on(filesystem: str, path: str, *, write: bool = False, result: int = 3, **facts: Any) -> FileOpened:
    """An open that reached a file of this file system."""
    return opened(path, file=File(path=path, filesystem=filesystem, **facts), write=write, result=result)


def device_opened(path: str, kind: FileKind, major: int, minor: int, *, result: int = 3) -> FileOpened:
    return on("tmpfs", path, kind=kind, node_device=major << 20 | minor, result=result)


def node_made(path: str, kind: FileKind, major: int, minor: int, *, result: int = 0) -> NodeMade:
    file = File(path=path, resolved=False, kind=kind, node_device=major << 20 | minor)
    return NodeMade(**header(), syscall="mknodat", result=result, file=file)


def linked(target: str, link: str, *, symbolic: bool = True, result: int = 0, **facts: Any) -> FileLinked:
    syscall = "symlinkat" if symbolic else "linkat"
    return FileLinked(
        **header(**facts), syscall=syscall, result=result, target=target, link=link, symbolic=symbolic
    )


def host_changed(path: str, change: str, role: str) -> HostFileChanged:
    return HostFileChanged(
        time_ns=0, sandbox="", process=Process(pid=0), tier=Tier.INOTIFY, path=path, change=change, role=role
    )


def socket_made(family: int, type_: int, protocol: int = 0, *, result: int = 3) -> SocketCreated:
    return SocketCreated(
        **header(), syscall="socket", result=result, family=family, type=type_, protocol=protocol
    )


def listened(address: str, port: int, *, family: int = 2, result: int = 0, **facts: Any) -> Listened:
    return Listened(
        **header(**facts), syscall="bind", result=result, family=family, address=address, port=port
    )


def unix_connected(
    path: str, *, result: int = 0, file: File | None = None, foreign_mount: bool = False
) -> Connected:
    return Connected(
        **header(),
        syscall="connect",
        result=result,
        family=1,
        path=path,
        file=file,
        foreign_mount=foreign_mount,
    )


def sent(address: str, port: int, *, family: int = 2, result: int = 10, **facts: Any) -> DatagramSent:
    return DatagramSent(
        **header(**facts), syscall="sendto", result=result, family=family, address=address, port=port
    )


def mapped(file: File | None, *, result: int = 0, **facts: Any) -> FileMapped:
    own = {name: facts.pop(name) for name in ("write", "execute", "fresh") if name in facts}
    return FileMapped(**header(**facts), syscall="mmap", result=result, file=file, **own)


def chmodded(path: str, mode: int, *, result: int = 0, **facts: Any) -> ModeChanged:
    passed = File(path=path, resolved=False)
    return ModeChanged(**header(**facts), syscall="fchmodat", result=result, file=passed, mode=mode)


def fifo_made(path: str, **facts: Any) -> NodeMade:
    file = File(path=path, resolved=False, kind=FileKind.FIFO)
    return NodeMade(**header(**facts), syscall="mknodat", file=file)


def mount_call(syscall: str, *, result: int = 0, source: str = "", target: str = "", **facts: Any) -> Mounted:
    own = {name: facts.pop(name) for name in ("filesystem", "flags") if name in facts}
    return Mounted(**header(**facts), **own, syscall=syscall, result=result, source=source, target=target)


def namespaces(syscall: str, flags: int, *, result: int = 0, **facts: Any) -> NamespaceChanged:
    return NamespaceChanged(**header(**facts), syscall=syscall, flags=flags, result=result)


def touched(syscall: str, target_pid: int, *, result: int = 0, **facts: Any) -> ProcessTouched:
    own = {name: facts.pop(name) for name in ("request", "descendant") if name in facts}
    return ProcessTouched(**header(**facts), syscall=syscall, result=result, target_pid=target_pid, **own)


def connected(address: str, port: int, *, result: int = 0, family: int = 2, **facts: Any) -> Connected:
    return Connected(
        **header(**facts), syscall="connect", result=result, family=family, address=address, port=port
    )


def asked(query: str, **facts: Any) -> DatagramSent:
    return DatagramSent(
        **header(**facts), syscall="sendto", family=2, address="10.0.0.1", port=53, query=query
    )


def forked(pid: int, ppid: int = 99, **facts: Any) -> ProcessForked:
    return ProcessForked(**header(pid=pid, ppid=ppid, **facts))


def exited(pid: int, **facts: Any) -> ProcessExited:
    return ProcessExited(**header(pid=pid, **facts))


def enrolled(*, already_running: bool = False, **facts: Any) -> Enrolled:
    return Enrolled(**header(**facts), already_running=already_running)


def limit(kind: str, **facts: Any) -> LimitReached:
    return LimitReached(**header(**facts), kind=kind, limit=64, used=64)


def findings(detector: Detector, events: Iterable[Event], sandbox: Expectation = PLAIN) -> list[Finding]:
    """As the pipeline asks: in order, and only with the kinds that it wants."""
    wanted = [event for event in events if isinstance(event, detector.events)]
    return [finding for event in wanted for finding in detector.detect(event, sandbox)]


def told(detector: Detector, *events: Event, sandbox: Expectation = PLAIN) -> list[tuple[str, str]]:
    """Rule and severity of each finding."""
    return [(finding.rule.id, str(finding.severity)) for finding in findings(detector, events, sandbox)]

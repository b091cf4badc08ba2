"""Records of the kernel side become events. What they hold is hostile: names, paths, arguments are data."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable
from typing import Any

from daemon import events
from daemon.events import Drift, Event, File, FileKind, Process, Tier
from daemon.sensors import abi, addresses
from daemon.sensors.abi import FileReason, Flag, RecordKind
from daemon.sensors.calls import MEMORY, MODES, MOUNTS, NODES, name_of

PRELOADS = (b"LD_PRELOAD=", b"LD_AUDIT=", b"LD_LIBRARY_PATH=")
CLONE_NAMESPACES = 0x7E02_0080
SOCK_TYPE_MASK = 0xF
O_ACCMODE, O_CREAT = 0o3, 0o100
CTIME_SLACK_NS = 10_000_000
"""File times come from a clock that ticks once a jiffy: a change right after the start can seem older."""
_OPEN_FLAGS_AT = {"open": 1, "openat": 2}
_PROT_WRITE, _PROT_EXEC = 2, 4
_NO_CALLS = {0xFFFF_FFFF: "tcp_connect", 0xFFFF_FFFE: "egress"}
_BODY = abi.RECORD.size


class Sandboxes:
    """What the kernel's number of a sandbox stands for: its container and when it started."""

    def __init__(self) -> None:
        self.containers: dict[int, str] = {}
        self.started_ns: dict[int, int] = {}
        """CLOCK_REALTIME."""

    def container(self, number: int) -> str:
        return self.containers.get(number, f"cgroup:{number}") if number else ""

    def is_fresh(self, number: int, file: File) -> bool:
        started_ns = self.started_ns.get(number)
        return started_ns is not None and file.changed_ns >= started_ns - CTIME_SLACK_NS

    def forget(self, number: int) -> None:
        self.containers.pop(number, None)
        self.started_ns.pop(number, None)


class Decoder:
    """`decode` returns None for a record that tells of no event. What a program did cannot make it raise."""

    def __init__(
        self,
        tier: Tier,
        sandboxes: Sandboxes,
        attached: Callable[[int, str], None],
        enrolled: Callable[[int, Any], None],
    ) -> None:
        self._tier = tier
        self._sandboxes = sandboxes
        self._attached = attached
        self._enrolled = enrolled
        self._kinds: dict[int, Callable[[Any, memoryview, dict[str, Any]], Event | None]] = {
            RecordKind.ENROLLED: self._enrolment,
            RecordKind.FORKED: lambda _r, _d, common: events.ProcessForked(**common),
            RecordKind.EXECUTED: self._executed,
            RecordKind.HOST_EXECUTED: self._host_executed,
            RecordKind.EXITED: self._exited,
            RecordKind.CALLED: self._called,
            RecordKind.FILE: self._on_file,
            RecordKind.ADDRESS: self._on_address,
            RecordKind.TOUCHED: self._touched,
            RecordKind.RING: self._ring,
        }

    def decode(self, data: memoryview) -> Event | None:
        record = abi.RECORD.unpack(data)
        if record.kind == RecordKind.ATTACHED:
            self._attached(record.sandbox, _text(bytes(data[_BODY:])))
            return None
        return self._kinds[record.kind](record, data, self._common(record))

    def _common(self, record: Any) -> dict[str, Any]:
        return {
            "time_ns": record.time_ns,
            "sandbox": self._sandboxes.container(record.sandbox),
            "process": Process(
                pid=record.pid,
                tid=record.tid,
                ppid=record.ppid,
                uid=record.uid,
                capabilities=record.capabilities,
                mnt_ns=record.mnt_ns,
                pid_ns=record.pid_ns,
                net_ns=record.net_ns,
                user_ns=record.user_ns,
                comm=_text(record.comm),
            ),
            "tier": self._tier,
            "drift": Drift(record.drift),
            "killed": bool(record.flags & Flag.KILLED),
        }

    def _call(self, record: Any, common: dict[str, Any]) -> str:
        """Adds what every system call has, and returns its name."""
        compat = bool(record.flags & Flag.COMPAT)
        name = _NO_CALLS.get(record.call) or _ring_name(record.call) or name_of(record.call, compat=compat)
        common |= {"syscall": name, "result": _result(record, compat=compat), "compat": compat}
        return name

    # --- the life of processes

    def _enrolment(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        self._enrolled(record.sandbox, abi.ENROLLED.unpack(data, _BODY))
        return events.Enrolled(**common, already_running=bool(record.flags & Flag.RUNNING))

    def _executed(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        executed = abi.EXECUTED.unpack(data, _BODY)
        file, at = self._file(executed.file, data, _BODY + abi.EXECUTED.size, record.flags)
        argv = bytes(data[at : at + executed.arguments_length])
        at += executed.arguments_length
        environment = bytes(data[at : at + executed.environment_length])
        return events.ProcessExecuted(
            **common,
            file=file,
            argv=_strings(argv),
            preloads=tuple(_text(v) for v in environment.split(b"\0") if v.startswith(PRELOADS)),
            inet_stdio=frozenset(n for n in range(3) if executed.inet_stdio >> n & 1),
            privileged_by_file=bool(executed.privileged),
            fresh=self._sandboxes.is_fresh(record.sandbox, file),
        )

    def _host_executed(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        executed = abi.EXECUTED.unpack(data, _BODY)
        file, _ = self._file(executed.file, data, _BODY + abi.EXECUTED.size, record.flags)
        return events.HostExecuted(**common, file=file)

    @staticmethod
    def _exited(record: Any, _data: memoryview, common: dict[str, Any]) -> Event:
        return events.ProcessExited(**common, code=record.result >> 8 & 0xFF, signal=record.result & 0x7F)

    # --- calls

    def _called(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        name = self._call(record, common)
        arguments = _arguments(data)
        strings = _strings(bytes(data[_BODY + abi.CALLED.size :]), keep_empty=True)
        return called(name, arguments, strings, common)

    def _on_file(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        name = self._call(record, common)
        arguments = _arguments(data)
        body = abi.CALLED_ON_FILE.unpack(data, _BODY)
        file, _ = self._file(body.file, data, _BODY + abi.CALLED_ON_FILE.size, record.flags)
        reasons = FileReason(abi.FILE_FACTS.unpack(body.file).reasons)
        fresh = self._sandboxes.is_fresh(record.sandbox, file)
        if name in MEMORY:
            protection = arguments[2]
            return events.FileMapped(
                **common,
                file=file,
                write=bool(protection & _PROT_WRITE),
                execute=bool(protection & _PROT_EXEC),
                fresh=fresh,
            )
        if name in MODES:
            return events.ModeChanged(**common, file=file, mode=arguments[1] & 0o7777)
        return events.FileOpened(
            **common,
            file=file,
            write=bool(reasons & FileReason.WRITE),
            create=bool(reasons & FileReason.CREATED),
            foreign_mount=bool(reasons & FileReason.FOREIGN),
            outside_root=bool(reasons & FileReason.OUTSIDE),
            fresh=fresh,
        )

    def _file(self, raw: bytes, data: memoryview, at: int, flags: int) -> tuple[File, int]:
        """The file and where what follows its path begins."""
        facts = abi.FILE_FACTS.unpack(raw)
        path = bytes(data[at : at + facts.path_length])
        return file_from(facts, path, truncated=bool(flags & Flag.TRUNCATED)), at + facts.path_length

    def _on_address(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        name = self._call(record, common)
        if name == "socketcall":
            name = common["syscall"] = SOCKETCALLS[_arguments(data)[0]]
        body = abi.CALLED_ON_ADDRESS.unpack(data, _BODY)
        family, address = body.family, addresses.text(body.family, body.address)
        if family == addresses.AF_INET6 and "." in address:
            family = addresses.AF_INET
        if name in CONNECTS:
            return events.Connected(
                **common,
                family=family,
                address=address,
                port=body.port,
                path=addresses.unix_path(body.path[: body.path_length]),
                file=_bound(body, data, record.flags),
                foreign_mount=bool(record.flags & Flag.FOREIGN),
            )
        if name in ("bind", "listen"):
            return events.Listened(**common, family=family, address=address, port=body.port)
        at = _BODY + abi.CALLED_ON_ADDRESS.size
        datagram = bytes(data[at : at + body.datagram_length])
        query = addresses.query_name(datagram) if body.port == addresses.DNS_PORT else ""
        return events.DatagramSent(
            **common, family=family, address=address, port=body.port, size=body.size, query=query
        )

    def _touched(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        name = self._call(record, common)
        body = abi.CALLED_ON_PROCESS.unpack(data, _BODY)
        request = _arguments(data)[0] if name == "ptrace" else 0
        return events.ProcessTouched(
            **common, target_pid=body.target_pid, request=request, descendant=bool(body.descendant)
        )

    def _ring(self, record: Any, data: memoryview, common: dict[str, Any]) -> Event:
        """An open that was asked for: it is taken to succeed, for nothing may tell of its end."""
        self._call(record, common)
        body = abi.REQUESTED.unpack(data, _BODY)
        at = _BODY + abi.REQUESTED.size
        passed = _text(bytes(data[at : at + body.string_length]))
        at += body.string_length
        base = _path(bytes(data[at : at + body.base_length]), truncated=bool(record.flags & Flag.TRUNCATED))
        return events.FileOpened(
            **common,
            file=_passed(posixpath.join(base, passed)),
            write=bool(body.flags & O_ACCMODE),
            create=bool(body.flags & O_CREAT),
        )


RING = "io_uring:"
OPCODES = {16: "connect", 18: "openat", 28: "openat2"}
"""enum io_uring_op of <linux/io_uring.h>."""
SOCKETCALLS = {2: "bind", 3: "connect"}
"""By the first argument of socketcall(2), <linux/net.h>; of the others only the call is known."""
CONNECTS = ("connect", "tcp_connect", "egress", f"{RING}connect")


def _ring_name(number: int) -> str:
    """Of a request of io_uring; "" of a system call."""
    opcode = number - abi.CALL_RING
    return RING + OPCODES.get(opcode, str(opcode)) if opcode >= 0 else ""


def called(name: str, arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]) -> Event:
    """A call that reached no object of the kernel: its strings are only what was passed."""
    if builder := _BUILDERS.get(name):
        return builder(name, arguments, (*strings, "", "", ""), common)
    return events.SyscallMade(**common, arguments=arguments)


_Builder = Callable[[str, tuple[int, ...], tuple[str, ...], dict[str, Any]], Event]


def _opened(name: str, arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]) -> Event:
    flags = arguments[_OPEN_FLAGS_AT[name]] if name in _OPEN_FLAGS_AT else 0
    if name == "creat":
        flags = O_CREAT | 1
    return events.FileOpened(
        **common,
        file=_passed(strings[0]),
        write=bool(flags & O_ACCMODE),
        create=bool(flags & O_CREAT),
    )


def _mounted(
    name: str, arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    match name:
        case "mount":
            source, target, filesystem = strings[:3]
            return events.Mounted(
                **common, source=source, target=target, filesystem=filesystem, flags=arguments[3]
            )
        case "fsopen":
            return events.Mounted(**common, filesystem=strings[0], flags=arguments[1])
        case "move_mount" | "pivot_root":
            return events.Mounted(**common, source=strings[0], target=strings[1], flags=0)
        case "umount2":
            return events.Mounted(**common, target=strings[0], flags=arguments[1])
        case "open_tree" | "open_tree_attr":
            return events.Mounted(**common, source=strings[0], flags=arguments[2])
    return events.Mounted(**common, target=strings[0])


def _namespace_changed(
    name: str, arguments: tuple[int, ...], _strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    flags = arguments[1] if name == "setns" else arguments[0]
    if name.startswith("clone") and not flags & CLONE_NAMESPACES:
        return events.SyscallMade(**common, arguments=arguments)
    return events.NamespaceChanged(**common, flags=flags & CLONE_NAMESPACES)


def _socket_created(
    _name: str, arguments: tuple[int, ...], _strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    family, kind, protocol = (value & 0xFFFF_FFFF for value in arguments[:3])
    return events.SocketCreated(**common, family=family, type=kind & SOCK_TYPE_MASK, protocol=protocol)


def _linked(
    name: str, _arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    symbolic = name.startswith("symlink")
    return events.FileLinked(**common, target=strings[0], link=strings[1], symbolic=symbolic)


def _mode_changed(
    name: str, arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    mode = arguments[MODES[name].operand] & 0o7777
    return events.ModeChanged(**common, file=_passed(strings[0]), mode=mode)


def _mapped(
    _name: str, arguments: tuple[int, ...], _strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    protection = arguments[2]
    return events.FileMapped(
        **common, write=bool(protection & _PROT_WRITE), execute=bool(protection & _PROT_EXEC)
    )


def _node_made(
    name: str, arguments: tuple[int, ...], strings: tuple[str, ...], common: dict[str, Any]
) -> Event:
    at = NODES[name].operand
    mode, device = arguments[at], arguments[at + 1] & 0xFFFF_FFFF
    # new_decode_dev() of <linux/kdev_t.h>
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    file = File(
        path=strings[0],
        resolved=False,
        kind=FileKind.of_mode(mode & 0xFFFF),
        node_device=major << 20 | minor,
        mode=mode & 0xFFFF,
    )
    return events.NodeMade(**common, file=file)


_BUILDERS: dict[str, _Builder] = {
    **dict.fromkeys(("open", "openat", "openat2", "creat", "open_by_handle_at"), _opened),
    **dict.fromkeys(MOUNTS, _mounted),
    **dict.fromkeys(("setns", "unshare", "clone", "clone3"), _namespace_changed),
    "socket": _socket_created,
    **dict.fromkeys(("symlink", "symlinkat", "link", "linkat"), _linked),
    **dict.fromkeys(MODES, _mode_changed),
    **dict.fromkeys(NODES, _node_made),
    **dict.fromkeys(MEMORY, _mapped),
}


def file_from(facts: Any, path: bytes, *, truncated: bool) -> File:
    return File(
        path=_path(path, truncated=truncated),
        device=facts.device,
        inode=facts.inode,
        kind=FileKind.of_mode(facts.mode),
        node_device=facts.node_device,
        filesystem=_text(facts.filesystem),
        mode=facts.mode & 0o7777,
        changed_ns=facts.changed_ns,
        links=facts.links,
    )


def _path(path: bytes, *, truncated: bool) -> str:
    """From the leaf to the root, which has a name only where the walk missed the mount's root."""
    parts = [_text(part) for part in reversed(path.split(b"\0")[:-1]) if part != b"/"]
    return ("(...)/" if truncated else "/") + "/".join(parts)


def _bound(body: Any, data: memoryview, flags: int) -> File | None:
    """The file of a Unix socket, as whoever bound it names it."""
    if not body.inode:
        return None
    at = _BODY + abi.CALLED_ON_ADDRESS.size + body.datagram_length
    path = _path(bytes(data[at : at + body.bound_length]), truncated=bool(flags & Flag.TRUNCATED))
    return File(path=path, device=body.device, inode=body.inode, kind=FileKind.SOCKET)


def _passed(path: str) -> File:
    return File(path=path, resolved=False)


def _arguments(data: memoryview) -> tuple[int, ...]:
    return abi.ARGUMENTS.unpack_from(data, _BODY)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def _strings(raw: bytes, *, keep_empty: bool = False) -> tuple[str, ...]:
    parts = raw.split(b"\0")
    if parts and not parts[-1]:
        parts.pop()
    return tuple(part.decode(errors="replace") for part in parts if part or keep_empty)


def _result(record: Any, *, compat: bool) -> int:
    """Where seccomp kills over the 32-bit entry the call's number stands for its result
    (syscall_rollback in kernel/seccomp.c): it was refused."""
    result: int = record.result
    return -errno.EPERM if compat and result == record.call else result

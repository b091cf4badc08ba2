"""The layouts of bpf/sensor.h. A test compares both by the type information of the built object."""

from __future__ import annotations

import struct
from collections import namedtuple
from enum import IntEnum, IntFlag
from typing import Any

NAME_BYTES = 32
FOLDER_BYTES = 16
PREFIX_BYTES = 16
CGROUP_PATH_BYTES = 128
CALLS = 1024
CALL_RING = 0xFFFF_FF00
NO_ARGUMENT = 255


class RecordKind(IntEnum):
    ATTACHED = 1
    ENROLLED = 2
    FORKED = 3
    EXECUTED = 4
    HOST_EXECUTED = 5
    EXITED = 6
    CALLED = 7
    FILE = 8
    ADDRESS = 9
    TOUCHED = 10
    RING = 11


class Flag(IntFlag):
    KILLED = 1
    COMPAT = 2
    UNREADABLE = 4
    TRUNCATED = 8
    RUNNING = 16
    RESOLVED = 32
    FOREIGN = 64


class FileReason(IntFlag):
    WRITE = 1
    CREATED = 2
    FOREIGN = 4
    OUTSIDE = 8
    KERNEL = 16
    DEVICE = 32
    NAMED = 64
    WATCHED = 128
    OTHER_PROCESS = 256
    SYSTEM_FOLDER = 512
    FRESH = 1024


class InKernel(IntFlag):
    """What the kernel side does by itself, by sandbox."""

    KILL_ON_DRIFT = 1
    KILL_ON_FOREIGN = 2
    KILL_ON_CALL = 4
    DENY_ESCAPES = 8


class InodeAction(IntFlag):
    REPORT = 1
    KILL = 2
    DENY = 4


class DeviceAction(IntFlag):
    REPORT = 1
    HAS_INODES = 2


class When(IntEnum):
    NEVER = 0
    ALWAYS = 1
    FAILED = 2
    ERROR = 3


class Handler(IntEnum):
    CALL = 0
    OPEN = 1
    ADDRESS = 2
    MESSAGE = 3
    LISTEN = 4
    CLONE = 5
    MAP = 6
    MODE = 7
    NODE = 8
    PROCESS = 9
    FILE = 10


class Loss(IntEnum):
    ALERTS_FULL = 0
    BULK_FULL = 1
    NO_TAG = 2
    NO_SCRATCH = 3
    PATH_TOO_DEEP = 4
    UNREADABLE = 5


class Watch(IntEnum):
    CHILDREN = 1
    ITSELF = 2


class Layout:
    """A C structure: names and formats of struct(3) in order, padding spelt out as in the header."""

    def __init__(self, name: str, **fields: str) -> None:
        self.name = name
        self.fields = fields
        self._struct = struct.Struct("<" + "".join(fields.values()))
        self._values: Any = namedtuple(name, fields)  # type: ignore[misc]  # the names are in the table
        self.size = self._struct.size

    def pack(self, *values: Any) -> bytes:
        return self._struct.pack(*values)

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> Any:
        """A named tuple."""
        return self._values._make(self._struct.unpack_from(data, offset))


RECORD = Layout(
    "record",
    time_ns="Q",
    length="I",
    kind="H",
    flags="H",
    sandbox="Q",
    capabilities="Q",
    result="q",
    pid="I",
    tid="I",
    ppid="I",
    uid="I",
    mnt_ns="I",
    pid_ns="I",
    net_ns="I",
    user_ns="I",
    drift="I",
    call="I",
    ns_tid="I",
    spare="I",
    comm="16s",
)
ENROLLED = Layout(
    "enrolled", started_ns="Q", net_cookie="Q", root_device="I", net_ns="I", mnt_ns="I", pid_ns="I"
)
_FILE_FACTS = {
    "inode": "Q",
    "changed_ns": "q",
    "device": "I",
    "node_device": "I",
    "mode": "I",
    "links": "I",
    "flags": "I",
    "reasons": "I",
    "path_length": "I",
    "spare": "I",
    "filesystem": "16s",
}
FILE_FACTS = Layout("file_facts", **_FILE_FACTS)
EXECUTED = Layout(
    "executed",
    file=f"{FILE_FACTS.size}s",
    arguments_length="I",
    environment_length="I",
    inet_stdio="I",
    privileged="I",
)
CALLED = Layout("called", arguments="48s")
REQUESTED = Layout("requested", flags="Q", string_length="I", base_length="I")
CALLED_ON_FILE = Layout("called_on_file", arguments="48s", file=f"{FILE_FACTS.size}s")
CALLED_ON_ADDRESS = Layout(
    "called_on_address",
    arguments="48s",
    inode="Q",
    device="I",
    family="H",
    port="H",
    address="16s",
    path_length="I",
    datagram_length="I",
    size="I",
    bound_length="I",
    path="112s",
)
CALLED_ON_PROCESS = Layout(
    "called_on_process", arguments="48s", target_tid="I", target_pid="I", descendant="I", spare="I"
)
ARGUMENTS = struct.Struct("<6Q")

POLICY = Layout("policy", when="B", handler="B", alert="B", kill="B", strings="3s", operand="B", only="i")
WATCHED = Layout("watched", watch="I", prefix_length="I", prefix="16s")
CGROUP_PATH = Layout("cgroup_path", bytes="128s")
FILE_NAME = Layout("file_name", bytes="32s")
FOLDER = Layout("folder", first="16s", second="16s", third="16s")
INODE_KEY = Layout("inode_key", inode="Q", device="I", spare="I")
NETWORK = Layout("network", prefix="I", cookie="Q", address="16s")
PORTS = Layout("ports", first="16s", last="16s")
SETTINGS = Layout("settings", hierarchy="I", hierarchy_id="I", own_mnt_ns="I")
HOST = Layout("host", mnt_ns="I", net_ns="I", root_device="I", own_root_device="I")
SANDBOX = Layout(
    "sandbox",
    started_ns="Q",
    started_real_ns="Q",
    root="Q",
    net_cookie="Q",
    mnt_ns="I",
    pid_ns="I",
    user_ns="I",
    net_ns="I",
    uid="I",
    root_device="I",
)
LAYOUTS = (
    RECORD,
    ENROLLED,
    FILE_FACTS,
    EXECUTED,
    CALLED,
    REQUESTED,
    CALLED_ON_FILE,
    CALLED_ON_ADDRESS,
    CALLED_ON_PROCESS,
    POLICY,
    WATCHED,
    CGROUP_PATH,
    FILE_NAME,
    FOLDER,
    INODE_KEY,
    NETWORK,
    PORTS,
    SETTINGS,
    HOST,
    SANDBOX,
)
ENUMS: dict[str, type[IntEnum | IntFlag]] = {
    "RECORD_": RecordKind,
    "FLAG_": Flag,
    "FILE_": FileReason,
    "INODE_": InodeAction,
    "DEVICE_": DeviceAction,
    "WHEN_": When,
    "HANDLER_": Handler,
    "LOSS_": Loss,
    "WATCH_": Watch,
}
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")

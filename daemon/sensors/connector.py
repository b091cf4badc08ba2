"""The kernel's connector of process events, as messages (driver-api/connector.rst, linux/cn_proc.h)."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from daemon.errors import SensorError

RECEIVE_BYTES: Final = 8 << 20  # some 20 000 messages, each of which is charged with its buffer
_NETLINK_CONNECTOR = 11
_SO_RCVBUFFORCE = 33
_CN_IDX_PROC = _CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2
_NLMSG_DONE = 3
_NETLINK_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_CONNECTOR_HEADER = struct.Struct("=IIIIHH")  # index, value, sequence, acknowledged, length, flags
_EVENT = struct.Struct("=IIQ4I")  # what, cpu, timestamp_ns, and of the union what all kinds used here have
_EVENT_OFFSET = _NETLINK_HEADER.size + _CONNECTOR_HEADER.size
_MESSAGE_BYTES = 512


class What(IntEnum):
    ACKNOWLEDGED = 0
    FORK = 1
    EXEC = 2
    UID = 4
    GID = 0x40
    PTRACE = 0x100
    COMM = 0x200
    EXIT = 0x8000_0000


KNOWN = frozenset(What)


@dataclass(frozen=True, slots=True)
class Message:
    """`numbers` are the first four of the event's own: for FORK the parent's tid and pid and the child's, for
    all others the process's tid and pid and then its own two; `time_ns` is CLOCK_MONOTONIC."""

    what: What
    time_ns: int
    numbers: tuple[int, int, int, int]
    comm: str = ""
    """Of COMM, which alone has it."""


class Connector:
    """A socket that hears of every process of the host."""

    def __init__(self) -> None:
        """Raises SensorError unless the kernel confirms that it will tell."""
        try:
            self.socket: Final = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise _unusable(error) from error
        try:
            self._subscribe()
        except OSError as error:
            self.socket.close()
            raise _unusable(error) from error
        except SensorError:
            self.socket.close()
            raise

    def receive(self) -> Message | None:
        """The next, None if it is of another kind. Raises BlockingIOError; OSError ENOBUFS after a loss."""
        data, (port, _) = self.socket.recvfrom(_MESSAGE_BYTES)
        # Port 0 is the kernel: any root process could send the like.
        return parse(data) if port == 0 else None

    def dropped(self) -> int:
        """Messages that found no room so far."""
        with Path("/proc/net/netlink").open(encoding="ascii") as table:
            rows = (row.split() for row in table)
            mine = [row for row in rows if row[1:3] == [str(_NETLINK_CONNECTOR), str(self._port)]]
        return int(mine[0][8]) if mine else 0

    def close(self) -> None:
        # Kernels before 6.6 do not notice that a listener is gone.
        try:
            self._send(_IGNORE)
        except OSError:
            pass
        finally:
            self.socket.close()

    def _subscribe(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
        self.socket.bind((0, _CN_IDX_PROC))
        self._port = self.socket.getsockname()[0]
        self._token = self._port & 0x7FFF_FFFF  # others may subscribe as well: all get the answers of all
        self._send(_LISTEN)
        error = self._confirmation()
        if error:
            raise OSError(error, os.strerror(error))

    def _send(self, operation: int) -> None:
        body = _CONNECTOR_HEADER.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, self._token, 4, 0)
        body += struct.pack("=I", operation)
        size = _NETLINK_HEADER.size + len(body)
        self.socket.send(_NETLINK_HEADER.pack(size, _NLMSG_DONE, 0, 0, self._port) + body)

    def _confirmation(self) -> int:
        """The error number that the kernel answers with: by the time that the request is sent, it has."""
        while True:
            try:
                data, (port, _) = self.socket.recvfrom(_MESSAGE_BYTES)
            except BlockingIOError as error:
                raise SensorError(
                    "proc connector: no answer: the kernel needs CONFIG_PROC_EVENTS, and the daemon must be "
                    "in the host's pid and user namespaces"
                ) from error
            message = parse(data) if port == 0 else None
            if message and message.what == What.ACKNOWLEDGED and _acknowledged(data) == self._token + 1:
                return message.numbers[0]


def parse(data: bytes) -> Message | None:
    """Of one datagram of the kernel's; None for a kind that is not used here, and for too short a one."""
    if len(data) < _EVENT_OFFSET + _EVENT.size:
        return None
    what, _, time_ns, *numbers = _EVENT.unpack_from(data, _EVENT_OFFSET)
    if what not in KNOWN:
        return None
    comm = data[_EVENT_OFFSET + 24 :][:16].partition(b"\0")[0] if what == What.COMM else b""
    return Message(What(what), time_ns, (numbers[0], numbers[1], numbers[2], numbers[3]), os.fsdecode(comm))


def _acknowledged(data: bytes) -> int:
    number: int = _CONNECTOR_HEADER.unpack_from(data, _NETLINK_HEADER.size)[3]
    return number


def _unusable(error: OSError) -> SensorError:
    return SensorError(
        f"proc connector: {error.strerror}: the daemon needs CAP_NET_ADMIN, AF_NETLINK sockets and the "
        "host's network namespace, and the kernel CONFIG_PROC_EVENTS"
    )

"""The host's ends of a container's network devices, and how they are set down (rtnetlink(7), veth(4)).

A hook of the kernel denies what begins; a connection that stands needs its wire cut. The host's end is out
of the container's reach whatever capabilities that has.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.errors import ResponseError

DEADLINE_S: Final = 5.0
_MESSAGE_BYTES = 1 << 17
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, which flags change
_ATTRIBUTE = struct.Struct("=HH")  # length with this, type
_NUMBER = struct.Struct("=i")
_REQUEST, _ACKNOWLEDGE, _DUMP = 1, 4, 0x300
_ERROR, _DONE, _NEW_LINK, _GET_LINK, _NEW_ID, _GET_ID = 2, 3, 16, 18, 88, 90
_LINK_NETNSID = 37
_ID, _ID_OF_PID = 1, 2
_UP = 1


def cut(pid: int, container: str) -> int:
    """Sets the host's end of each device of the network that `container` is in down: how many there were.

    `pid`: one of its processes. Raises ResponseError for one that has ended, for the host's own network, and
    for one that no end of is on this host.
    """
    try:
        _check(pid, container)
        ends = _set_down(pid)
        if not ends and _reaches_out(pid):
            raise ResponseError("its network has no end on this host that could be set down")
    except OSError as error:
        raise ResponseError(f"its network cannot be cut: {error.strerror or error}") from error
    return len(ends)


def _check(pid: int, container: str) -> None:
    """A pid may be somebody else's by now."""
    if container not in Path(f"/proc/{pid}/cgroup").read_text():
        raise ResponseError("the process that its network was known by has ended")
    if Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
        raise ResponseError("it is in the host's network, which cannot be cut")


def _set_down(pid: int) -> list[int]:
    """The ends. Each change is waited for."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(DEADLINE_S)
        ends = list(_ends(route, pid))
        for index in ends:
            down = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, _UP)
            list(_asked(route, _NEW_LINK, _ACKNOWLEDGE, down))
    return ends


def _ends(route: socket.socket, pid: int) -> Iterator[int]:
    """Their numbers on the host. By telling of a link the kernel gives its far side an id."""
    links = [
        (_LINK.unpack_from(body)[2], _attributes(body[_LINK.size :]))
        for kind, body in _asked(route, _GET_LINK, _DUMP, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        if kind == _NEW_LINK
    ]
    network = _id_of(route, pid)
    for index, attributes in links:
        if (far := attributes.get(_LINK_NETNSID)) is not None and _NUMBER.unpack(far)[0] == network >= 0:
            yield index


def _id_of(route: socket.socket, pid: int) -> int:
    """What links call the network of `pid`; -1 if they know nothing of it."""
    wanted = struct.pack("=B3x", socket.AF_UNSPEC) + _ATTRIBUTE.pack(8, _ID_OF_PID) + _NUMBER.pack(pid)
    for kind, body in _asked(route, _GET_ID, 0, wanted):
        if kind == _NEW_ID:
            return int(_NUMBER.unpack(_attributes(body[4:])[_ID])[0])
    return -1


def _asked(route: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """The answers' types and bodies. Raises OSError."""
    route.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body)
    while True:
        for answer, payload in _messages(route.recv(_MESSAGE_BYTES)):
            if answer == _ERROR and (number := -_NUMBER.unpack_from(payload)[0]):
                raise OSError(number, os.strerror(number))
            if answer in {_ERROR, _DONE}:
                return
            yield answer, payload
            if not flags:
                return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[max(_aligned(length), _ATTRIBUTE.size) :]
    return found


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _reaches_out(pid: int) -> bool:
    """It has a route of IPv4, or an address of IPv6 that is not its loopback's."""
    routes = Path(f"/proc/{pid}/net/route").read_text(encoding="ascii").splitlines()[1:]
    addresses = Path(f"/proc/{pid}/net/if_inet6")
    lines = addresses.read_text(encoding="ascii").splitlines() if addresses.exists() else []
    return bool(routes) or any(line.split()[-1] != "lo" for line in lines)

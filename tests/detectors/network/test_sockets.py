"""Sockets that ordinary programs do not make."""

from __future__ import annotations

import errno

import pytest

from detectors.network.netlink_socket import NetlinkSocket
from detectors.network.packet_socket import PacketSocket
from detectors.network.raw_socket import RawSocket
from detectors.network.unusual_socket import UnusualSocket
from tests.detectors.making import EPERM, socket_made, told

UNIX, INET, INET6, NETLINK, PACKET, ALG, VSOCK, XDP = 1, 2, 10, 16, 17, 38, 40, 44
STREAM, DGRAM, RAW, SEQPACKET, OLD_PACKET = 1, 2, 3, 5, 10
KINDS = (PacketSocket, RawSocket, UnusualSocket, NetlinkSocket)


@pytest.mark.parametrize(
    ("family", "type_"), [(PACKET, RAW), (PACKET, DGRAM), (INET, OLD_PACKET), (XDP, RAW)]
)
def test_a_packet_socket(family: int, type_: int) -> None:
    for result in (3, EPERM):
        assert told(PacketSocket(), socket_made(family, type_, result=result)) == [("packet-socket", "high")]


@pytest.mark.parametrize(
    ("family", "protocol", "severity"),
    [(INET, 1, "low"), (INET6, 58, "low"), (INET, 255, "medium"), (INET, 6, "medium"), (INET6, 1, "medium")],
)
def test_a_raw_socket(family: int, protocol: int, severity: str) -> None:
    for result in (3, EPERM):
        assert told(RawSocket(), socket_made(family, RAW, protocol, result=result)) == [
            ("raw-socket", severity)
        ]


@pytest.mark.parametrize("family", [ALG, VSOCK, 30, 21, 999])
def test_an_unusual_family(family: int) -> None:
    assert told(UnusualSocket(), socket_made(family, SEQPACKET)) == [("unusual-socket", "medium")]
    assert told(UnusualSocket(), socket_made(family, SEQPACKET, result=EPERM)) == [
        ("unusual-socket", "medium")
    ]
    assert told(UnusualSocket(), socket_made(family, SEQPACKET, result=-errno.EAFNOSUPPORT)) == [
        ("unusual-socket", "low")
    ]


def test_netlink_to_the_firewall() -> None:
    assert told(NetlinkSocket(), socket_made(NETLINK, RAW, 12)) == [("netlink-socket", "medium")]
    assert told(NetlinkSocket(), socket_made(NETLINK, RAW, 12, result=EPERM)) == [("netlink-socket", "low")]


@pytest.mark.parametrize(
    ("family", "type_", "protocol"),
    [
        *((INET, STREAM, 6), (INET6, DGRAM, 17), (UNIX, STREAM, 0), (UNIX, SEQPACKET, 0)),
        *((INET, DGRAM, 1), (NETLINK, RAW, 0), (NETLINK, DGRAM, 4), (NETLINK, RAW, 9), (NETLINK, RAW, 16)),
    ],
)
def test_sockets_of_every_day(family: int, type_: int, protocol: int) -> None:
    """Streams, datagrams, ping's own kind, and the netlink of ip, ss and login."""
    for kind in KINDS:
        assert told(kind(), socket_made(family, type_, protocol)) == []

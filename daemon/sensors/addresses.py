"""Addresses of sockets and the names that DNS queries ask for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
DNS_PORT = 53
MAX_LABELS = 64
_DNS_HEADER_BYTES = 12


def text(family: int, address: bytes) -> str:
    """IPv4-mapped addresses as IPv4; "" for families without addresses."""
    if family == AF_INET:
        return str(IPv4Address(address[:4]))
    if family == AF_INET6:
        full = IPv6Address(address)
        return str(full.ipv4_mapped or full)
    return ""


def unix_path(raw: bytes) -> str:
    """An abstract name, which starts with a zero byte, is written with an @ instead."""
    if raw[:1] == b"\0":
        return "@" + raw[1:].decode(errors="replace")
    return raw.partition(b"\0")[0].decode(errors="replace")


def query_name(datagram: bytes) -> str:
    """The first question's name (RFC 1035, 4.1), "" where there is none; cut where the datagram was cut."""
    if len(datagram) < _DNS_HEADER_BYTES or datagram[2] & 0x80 or datagram[4:6] == b"\0\0":
        return ""
    labels: list[str] = []
    at = _DNS_HEADER_BYTES
    while at < len(datagram) and len(labels) < MAX_LABELS:
        size = datagram[at]
        if size == 0 or size > 63:  # a pointer has no place in a question
            break
        labels.append(datagram[at + 1 : at + 1 + size].decode("ascii", errors="replace"))
        at += 1 + size
    return ".".join(labels)

"""What kind of address it is, whatever its spelling."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from daemon.events import Connected, DatagramSent, Listened
from detectors.addresses import is_internet

Address = IPv4Address | IPv6Address

NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052; the last 32 bits are an IPv4 address."""


@lru_cache(maxsize=1024)
def parsed(text: str) -> Address | None:
    """The address that is meant: one that IPv6 carries IPv4 in is the IPv4 one."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def peer(event: Connected | DatagramSent | Listened) -> Address | None:
    """None where it is no internet socket."""
    return parsed(event.address) if is_internet(event.family) else None


def is_local(address: Address) -> bool:
    """Of the network namespace itself: connecting to the unspecified address is to oneself (ip(7))."""
    return address.is_loopback or address.is_unspecified

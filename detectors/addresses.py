"""Internet addresses as events carry them: text of the kernel's own making, yet never trusted to be one."""

from __future__ import annotations

import socket
from ipaddress import ip_address

FAMILIES = (socket.AF_INET, socket.AF_INET6)
TEXT_LIMIT = 64


def is_internet(family: int) -> bool:
    return family in FAMILIES


def is_loopback(address: str) -> bool:
    """False of what is no address."""
    try:
        return ip_address(address[:TEXT_LIMIT]).is_loopback
    except ValueError:
        return False

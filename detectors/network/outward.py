"""Attempts to talk to another machine: what most detectors of this category start from."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Connected, DatagramSent, Event
from daemon.expectation import Expectation
from detectors.network.addresses import Address, is_local, peer

SYSCALLS = frozenset({"connect", "sendto", "sendmsg", "sendmmsg"})
UNDER_WAY = (-errno.EINPROGRESS, -errno.EALREADY, -errno.EINTR, -errno.EAGAIN)


def attempted(event: Event, sandbox: Expectation) -> Iterator[tuple[Connected | DatagramSent, Address]]:
    """At most one: the attempt and its destination. The host's loopback is another machine's."""
    if isinstance(event, Connected | DatagramSent):
        address = peer(event)
        if address is not None and (not is_local(address) or "net" in sandbox.host_namespaces):
            yield event, address


def is_under_way(event: Connected | DatagramSent) -> bool:
    """It succeeded, or the kernel works on it: a socket that does not block says no more at once."""
    return event.succeeded or event.result in UNDER_WAY


def is_allowed(address: Address, sandbox: Expectation) -> bool:
    """By name: a sandbox that may go anywhere allows nothing in particular."""
    return any(address in network for network in sandbox.egress or ())

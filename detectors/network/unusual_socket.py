"""Families of sockets that ordinary programs do not know."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from daemon.events import Event, SocketCreated
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector

UNUSUAL_SOCKET = Rule(
    id="unusual-socket",
    title="Socket of an unusual family made",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1068", "T1095"),
    why="Protocols that hardly anybody uses are where kernel exploits start. vsock leads past every "
    "network filter to the hypervisor's host.",
    remedy="Deny these families by seccomp (socket, first argument), as the shipped profiles do.",
)

# <linux/socket.h>
ORDINARY = frozenset({0, 1, 2, 10, 16, 17, 44})
"""unspecified, unix, inet, inet6; netlink, packet and xdp are told by detectors of their own."""
NAMES = {
    3: "ax25",
    4: "ipx",
    5: "appletalk",
    9: "x25",
    15: "key",
    21: "rds",
    24: "pppox",
    26: "llc",
    29: "can",
    30: "tipc",
    31: "bluetooth",
    33: "rxrpc",
    36: "ieee802154",
    37: "caif",
    38: "alg",
    39: "nfc",
    40: "vsock",
    41: "kcm",
    42: "qipcrtr",
    43: "smc",
}
UNSUPPORTED = (-errno.EAFNOSUPPORT, -errno.EPROTONOSUPPORT, -errno.ESOCKTNOSUPPORT, -errno.EINVAL)


class UnusualSocket(Detector):
    rules = (UNUSUAL_SOCKET,)
    events = (SocketCreated,)
    syscalls = frozenset({"socket"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SocketCreated) and event.family not in ORDINARY:
            yield finding(
                UNUSUAL_SOCKET,
                event,
                severity=Severity.LOW if event.result in UNSUPPORTED else None,
                identifier=NAMES.get(event.family, ""),
                family=NAMES.get(event.family, str(event.family)),
                type=event.type,
                protocol=event.protocol,
                result=event.result,
            )

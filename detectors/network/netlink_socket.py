"""Netlink beyond addresses and routes: firewall, IPsec, audit, process events."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, SocketCreated
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt

NETLINK_SOCKET = Rule(
    id="netlink-socket",
    title="Netlink socket to a subsystem of the kernel made",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1068", "T1562.004"),
    why="By netlink the firewall, IPsec and traffic control are set. Their parsers, nf_tables above all, "
    "are behind many recent kernel exploits.",
    remedy="Drop CAP_NET_ADMIN, deny user namespaces, and deny AF_NETLINK by seccomp where it is not needed.",
)

AF_NETLINK = 16
# <linux/netlink.h>
SUBSYSTEMS = {
    6: "xfrm",
    8: "iscsi",
    10: "fib_lookup",
    11: "connector",
    12: "netfilter",
    20: "rdma",
    21: "crypto",
}


class NetlinkSocket(Detector):
    """route, sock_diag, audit, uevent and generic are what ip, ss, login and udev use day by day."""

    rules = (NETLINK_SOCKET,)
    events = (SocketCreated,)
    syscalls = frozenset({"socket"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, SocketCreated) or event.family != AF_NETLINK:
            return
        if subsystem := SUBSYSTEMS.get(event.protocol):
            yield attempt(
                NETLINK_SOCKET, event, otherwise=Severity.LOW, identifier=subsystem, subsystem=subsystem
            )

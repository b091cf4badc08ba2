"""The corpus's cases of the network, as the kernel reported them, and the same attacks in other words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from daemon.events import Event
from daemon.expectation import Expectation
from tests.detectors.attacks import Attack, everything, is_found, pair
from tests.detectors.making import (
    ECONNREFUSED,
    EINPROGRESS,
    ENETUNREACH,
    EPERM,
    PLAIN,
    STRICT,
    asked,
    connected,
    executed,
    fresh,
    listened,
    sent,
    socket_made,
)

NETWORKED = replace(PLAIN, networking=True)
ALLOWED = replace(STRICT, networking=True, egress=(ip_network("10.1.0.0/16"),))
HOST_NETWORK = replace(NETWORKED, host_namespaces=frozenset({"net"}))
TOOL = fresh("/tmp/.t/id")
LABELS = [f"{number:02x}9f6ccdb85b42a9cac48360142492328d90918a34ec6a6dd9807d" for number in range(6)]
SCANNED = (21, 22, 23, 25, 80, 110, 135, 139, 443, 445, 1433, 2375, 2376, 3306, 3389, 5432, 6379, 6443, 8080)
AF_INET6 = 10


def attack(case: str, floor: str, *events: Event, sandbox: Expectation = NETWORKED) -> Attack:
    return Attack(case, "network", floor, events, sandbox)


def reached(case: str, floor: str, address: str, port: int) -> list[Attack]:
    """With a network, and without one."""
    return pair(
        case,
        floor,
        (connected(address, port),),
        (connected(address, port, result=ENETUNREACH),),
        category="network",
        sandbox=NETWORKED,
    )


CASES = [
    *pair(
        "net-afpacket-sniff",
        "high",
        (socket_made(17, 3, 0x300),),
        (socket_made(17, 3, 0x300, result=EPERM),),
        category="network",
    ),
    *pair(
        "net-bindshell",
        "medium",
        (
            listened("::", 31337, family=AF_INET6, pid=20),
            executed("/bin/sh", path="/bin/busybox", pid=20, inet_stdio=frozenset({0, 1, 2})),
        ),
        (
            listened("::", 31337, family=AF_INET6, pid=20),
            executed("/bin/sh", path="/bin/busybox", pid=20, inet_stdio=frozenset({0, 1})),
        ),
        category="network",
    ),
    *pair(
        "net-dns-tunnel",
        "medium",
        tuple(asked(f"{label}.{n}.t.corpus.example", at_s=n) for n, label in enumerate(LABELS)),
        tuple(
            executed("nslookup", f"{label}.{n}.t.corpus.example", "198.51.100.53", at_s=n)
            for n, label in enumerate(LABELS)
        ),
        category="network",
    ),
    *reached("net-docker-tcp", "high", "10.66.0.1", 2375),
    attack(
        "net-download-run own",
        "medium",
        connected("198.51.100.9", 8080, result=EINPROGRESS, pid=30, at_s=1),
        executed("/tmp/.t/id", file=TOOL, fresh=True, pid=31, at_s=2),
    ),
    attack(
        "net-download-run strict",
        "medium",
        connected("198.51.100.9", 8080, result=ENETUNREACH),
        sandbox=STRICT,
    ),
    *reached("net-kubelet-api", "medium", "10.66.0.1", 10250),
    *reached("net-kubelet-api, its server", "medium", "10.96.0.1", 443),
    *reached("net-metadata-http", "high", "169.254.169.254", 80),
    *pair(
        "net-portscan-sh",
        "medium",
        tuple(connected("10.66.0.1", port, result=ECONNREFUSED) for port in SCANNED),
        tuple(connected("10.66.0.1", port, result=ENETUNREACH) for port in SCANNED),
        category="network",
        sandbox=NETWORKED,
    ),
    *pair(
        "net-raw-icmp",
        "low",
        (socket_made(2, 3, 1),),
        (socket_made(2, 3, 1, result=EPERM),),
        category="network",
    ),
]

IN_OTHER_WORDS = [
    attack("metadata in IPv6", "high", connected("fd00:ec2::254", 80, family=AF_INET6)),
    attack("metadata in IPv6, by NAT", "high", connected("64:ff9b::a9fe:a9fe", 80, family=AF_INET6)),
    attack("metadata in IPv6, mapped", "high", connected("::ffff:169.254.169.254", 80, family=AF_INET6)),
    attack("metadata with a zone", "high", connected("fe80::a9fe:a9fe%eth0", 80, family=AF_INET6)),
    attack("metadata by datagrams", "high", sent("169.254.169.254", 80)),
    attack("metadata on another port", "high", connected("168.63.129.16", 32526)),
    attack("the engine on the host's loopback", "high", connected("127.0.0.1", 2375), sandbox=HOST_NETWORK),
    attack(
        "the kubelet on the host's loopback",
        "medium",
        connected("::1", 10250, family=AF_INET6),
        sandbox=HOST_NETWORK,
    ),
    attack("the store of a cluster", "medium", connected("10.0.0.5", 2379)),
    attack("a neighbourhood", "medium", *(connected(f"10.66.0.{n}", 22, at_s=n) for n in range(1, 30))),
    attack("a neighbourhood by ping", "medium", *(sent(f"10.66.0.{n}", 0, at_s=n) for n in range(1, 30))),
    attack("a neighbour by datagrams", "medium", *(sent("10.66.0.1", port) for port in range(100, 130))),
    attack("high ports alone", "medium", *(connected("10.66.0.1", port) for port in range(40000, 40120))),
    attack("packets the old way", "high", socket_made(2, 10, 3)),
    attack("packets by XDP", "high", socket_made(44, 3)),
    attack("packets of one's own", "medium", socket_made(2, 3, 255)),
    attack("past the network, to the hypervisor", "medium", socket_made(40, 1)),
    attack("ciphers of the kernel", "medium", socket_made(38, 5)),
    attack("the firewall's parser", "medium", socket_made(16, 3, 12)),
    attack(
        "a bind shell in a child",
        "medium",
        listened("0.0.0.0", 4444, pid=20),
        executed("/bin/sh", pid=22, ppid=21, ancestors=(21, 20), inet_stdio=frozenset({0, 1, 2})),
    ),
    attack(
        "a bind shell told in the wrong order",
        "medium",
        executed("/bin/sh", pid=20, inet_stdio=frozenset({0, 1, 2})),
        listened("0.0.0.0", 4444, pid=20),
    ),
    attack(
        "a tunnel in short labels",
        "medium",
        *(asked(f"{n:06x}.example.org", at_s=n / 10) for n in range(220)),
    ),
    attack(
        "a tunnel in base32", "medium", *(asked(f"nbswy3dpo5xxe3demfzwk{n}a.x.org", at_s=n) for n in range(5))
    ),
    attack("out of the allow-list", "high", connected("10.2.0.1", 443), sandbox=ALLOWED),
    attack("out of the allow-list by datagrams", "high", sent("10.2.0.1", 443), sandbox=ALLOWED),
    attack("a network that should not be", "high", connected("10.2.0.1", 443), sandbox=STRICT),
]


@pytest.mark.parametrize("attack", [*CASES, *IN_OTHER_WORDS], ids=lambda attack: attack.case)
def test_an_attack_is_found_at_its_floor(attack: Attack) -> None:
    assert is_found(attack), everything(attack.events, attack.sandbox)

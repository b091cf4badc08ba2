"""Metadata services of clouds: credentials of the machine for whoever asks from it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from daemon.events import Connected, DatagramSent, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.network.outward import SYSCALLS, attempted

METADATA_SERVICE = Rule(
    id="metadata-service",
    title="Metadata service of the cloud contacted",
    category=Category.NETWORK,
    severity=Severity.HIGH,
    techniques=("T1552.005",),
    why="It hands the machine's own credentials to any process that asks, a container's included; with "
    "them the attacker is in the cloud account.",
    remedy="Block these addresses for containers, require IMDSv2 with a hop limit of 1, and revoke the "
    "machine's credentials if it answered.",
)

ADDRESSES = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, IBM ...
            "169.254.170.2",  # AWS: credentials of ECS tasks
            "169.254.170.23",  # AWS: EKS pod identity
            "169.254.0.23",  # Tencent
            "168.63.129.16",  # Azure's wire server
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle, first generation
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google
            "fe80::a9fe:a9fe",  # OpenStack
        ),
    )
)
DNS_PORT = 53
"""Google's and Azure's are the resolver as well, which every container asks."""


class MetadataService(Detector):
    """An attempt counts like a success: nobody asks there by mistake."""

    rules = (METADATA_SERVICE,)
    events = (Connected, DatagramSent)
    syscalls = SYSCALLS

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        for call, address in attempted(event, sandbox):
            if address in ADDRESSES and call.port != DNS_PORT:
                yield finding(
                    METADATA_SERVICE,
                    event,
                    identifier=str(address),
                    address=call.address,
                    port=call.port,
                    result=call.result,
                )

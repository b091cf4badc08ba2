"""APIs of a Kubernetes cluster: its server, its nodes, its store."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from daemon.events import Connected, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.network.addresses import Address
from detectors.network.outward import attempted

KUBERNETES_API = Rule(
    id="kubernetes-api",
    title="API of a Kubernetes cluster contacted",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1613", "T1610", "T1552.007"),
    why="kubelets run commands in any pod of their node, the API server makes pods, etcd holds all "
    "secrets. A sandbox has no part in the cluster's control.",
    remedy="Deny these ports to workloads by a network policy, and disable anonymous access and the "
    "read-only port of kubelets.",
)

PORTS = {
    10250: "kubelet",
    10255: "kubelet, read-only",
    10257: "controller manager",
    10259: "scheduler",
    6443: "API server",
    2379: "etcd",
    2380: "etcd peer",
}
SERVICES = frozenset(map(ip_address, ("10.96.0.1", "10.43.0.1", "10.152.183.1", "10.100.0.1")))
"""The API server's address inside of clusters made by kubeadm, k3s, MicroK8s and EKS."""
SERVICE_PORT = 443


class KubernetesApi(Detector):
    rules = (KUBERNETES_API,)
    events = (Connected,)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        for call, address in attempted(event, sandbox):
            if isinstance(call, Connected) and (service := _service(address, call.port)):
                yield finding(
                    KUBERNETES_API,
                    event,
                    identifier=service,
                    address=call.address,
                    port=call.port,
                    service=service,
                    result=call.result,
                )


def _service(address: Address, port: int) -> str:
    if port == SERVICE_PORT and address in SERVICES:
        return "API server"
    return PORTS.get(port, "")

"""Whom a sandbox speaks to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from daemon.events import Event, NameRefused, Tier
from detectors.network.addresses import parsed
from detectors.network.egress import Egress
from detectors.network.engine_api import EngineApi
from detectors.network.kubernetes_api import KubernetesApi
from detectors.network.metadata_service import MetadataService
from detectors.network.relay_ports import RelayPorts
from tests.detectors.making import (
    ECONNREFUSED,
    EINPROGRESS,
    ENETUNREACH,
    EPERM,
    PLAIN,
    STRICT,
    connected,
    findings,
    sent,
    told,
    unix_connected,
)
from tests.events import event

AF_INET6 = 10
NETWORKED = replace(PLAIN, networking=True)
HOST_NETWORK = replace(NETWORKED, host_namespaces=frozenset({"net"}))
ALLOWED = replace(STRICT, networking=True, egress=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("169.254.169.254", "169.254.169.254"),
        ("::ffff:169.254.169.254", "169.254.169.254"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("2002:a9fe:a9fe::1", "169.254.169.254"),
        ("fe80::1%eth0", "fe80::1"),
        ("FD00:EC2:0:0::254", "fd00:ec2::254"),
        ("", "None"),
        ("nonsense", "None"),
        ("1.2.3", "None"),
    ],
)
def test_spellings_of_an_address(text: str, meant: str) -> None:
    assert str(parsed(text)) == meant


@pytest.mark.parametrize(
    "event",
    [
        connected("169.254.169.254", 80),
        connected("169.254.169.254", 80, result=ENETUNREACH),
        connected("169.254.169.254", 80, result=EPERM),
        connected("169.254.169.254", 8080, result=EINPROGRESS),
        connected("169.254.170.2", 80),
        connected("168.63.129.16", 80),
        connected("100.100.100.200", 80),
        connected("fd00:ec2::254", 80, family=AF_INET6),
        sent("169.254.169.254", 123),
    ],
)
def test_a_metadata_service(event: Event) -> None:
    assert told(MetadataService(), event) == [("metadata-service", "high")]


@pytest.mark.parametrize(
    "event",
    [
        connected("169.254.169.254", 53),
        sent("168.63.129.16", 53),
        connected("169.254.169.123", 123),
        connected("10.0.0.1", 80),
        unix_connected("169.254.169.254"),
        connected("", 0, family=0),
    ],
)
def test_no_metadata_service(event: Event) -> None:
    assert told(MetadataService(), event) == []


@pytest.mark.parametrize("port", [2375, 2376, 2377])
def test_an_engines_port(port: int) -> None:
    for result in (0, EINPROGRESS, ECONNREFUSED, ENETUNREACH):
        assert told(EngineApi(), connected("172.17.0.1", port, result=result)) == [("engine-api", "high")]
    assert told(EngineApi(), connected("127.0.0.1", port)) == [("engine-api", "low")]
    assert told(EngineApi(), connected("127.0.0.1", port), sandbox=HOST_NETWORK) == [("engine-api", "high")]


@pytest.mark.parametrize(
    ("address", "port"),
    [("10.66.0.1", 10250), ("10.66.0.1", 10255), ("10.66.0.1", 6443), ("10.96.0.1", 443), ("10.0.0.9", 2379)],
)
def test_a_clusters_port(address: str, port: int) -> None:
    for result in (0, EINPROGRESS, ENETUNREACH):
        assert told(KubernetesApi(), connected(address, port, result=result)) == [
            ("kubernetes-api", "medium")
        ]


def test_a_clusters_port_on_the_loopback_is_the_clusters_in_the_hosts_network_alone() -> None:
    assert told(KubernetesApi(), connected("127.0.0.1", 10250)) == []
    assert told(KubernetesApi(), connected("127.0.0.1", 10250), sandbox=HOST_NETWORK) == [
        ("kubernetes-api", "medium")
    ]


@pytest.mark.parametrize(
    ("address", "port"), [("10.0.0.9", 443), ("10.96.0.1", 80), ("10.0.0.9", 8080), ("", 6443)]
)
def test_ports_of_every_day(address: str, port: int) -> None:
    for kind in (EngineApi, KubernetesApi, MetadataService, RelayPorts):
        assert told(kind(), connected(address, port)) == []


def test_mail_chat_and_tor() -> None:
    for port in (25, 6667, 9001):
        assert told(RelayPorts(), connected("203.0.113.9", port)) == [("relay-port", "low")]
        assert told(RelayPorts(), connected("127.0.0.1", port)) == []


def test_a_scan_is_one_finding_a_service() -> None:
    events = [connected(f"10.66.{n}.1", port) for n in range(50) for port in (2375, 10250, 25)]
    for kind in (EngineApi, KubernetesApi, RelayPorts):
        assert len({found.identifier for found in findings(kind(), events)}) == 1


# --- the policy

OUT = ("egress-outside-policy",)


@pytest.mark.parametrize(
    ("event", "managed", "other"),
    [
        (connected("203.0.113.9", 443), "high", "low"),
        (connected("203.0.113.9", 443, result=EINPROGRESS), "high", "low"),
        (connected("203.0.113.9", 443, result=ENETUNREACH), "medium", "low"),
        (connected("203.0.113.9", 443, result=EPERM), "medium", "low"),
        (connected("10.255.255.53", 53, result=ENETUNREACH), "low", "low"),
        (sent("203.0.113.9", 443, result=ENETUNREACH), "medium", "low"),
    ],
)
def test_without_a_network(event: Event, managed: str, other: str) -> None:
    assert told(Egress(), event, sandbox=STRICT) == [(*OUT, managed)]
    assert told(Egress(), event, sandbox=PLAIN) == [(*OUT, other)]
    assert told(Egress(), event, sandbox=NETWORKED) == []


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (connected("10.2.0.1", 443), "high"),
        (connected("10.2.0.1", 443, result=EPERM), "high"),
        (connected("2001:db8::1", 443, family=AF_INET6), "high"),
        (sent("10.2.0.1", 4000), "high"),
        (sent("10.2.0.1", 53), "medium"),
    ],
)
def test_out_of_the_allow_list(event: Event, severity: str) -> None:
    assert told(Egress(), event, sandbox=ALLOWED) == [(*OUT, severity)]


@pytest.mark.parametrize(
    "event",
    [
        connected("10.1.2.3", 443),
        connected("::ffff:10.1.2.3", 443, family=AF_INET6),
        connected("fd00::1", 443, family=AF_INET6),
    ],
)
def test_within_the_allow_list(event: Event) -> None:
    assert told(Egress(), event, sandbox=ALLOWED) == []


@pytest.mark.parametrize(
    "event",
    [
        connected("127.0.0.1", 8099),
        connected("127.0.0.11", 53),
        connected("::1", 8099, family=AF_INET6),
        connected("0.0.0.0", 8099),
        connected("203.0.113.9", 0),
        unix_connected("/tmp/x"),
        connected("", 0, family=0),
    ],
)
def test_what_stays_inside(event: Event) -> None:
    for sandbox in (STRICT, PLAIN, ALLOWED):
        assert told(Egress(), event, sandbox=sandbox) == []


def test_names_outside_the_policy_are_one_finding_a_domain() -> None:
    egress = Egress()
    refused = [
        event(NameRefused, tier=Tier.RESOLVER, name=name, reason="the policy does not have it")
        for name in ("a.evil.test", "b.evil.test", "other.test")
    ]
    found = [one for each in refused for one in egress.detect(each, ALLOWED)]
    assert {one.rule.id for one in found} == {"egress-name-refused"}
    assert [one.identifier for one in found] == ["evil.test", "evil.test", "other.test"]


def test_what_the_kernel_denied_is_outside_the_policy_whatever_its_address() -> None:
    """A port that the policy does not have, of an address that it has."""
    denied = replace(connected("10.1.2.3", 22, result=EPERM), syscall="egress")
    assert [found.rule.id for found in Egress().detect(denied, ALLOWED)] == ["egress-outside-policy"]

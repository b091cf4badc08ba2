"""What several events together tell: scans, tunnels, shells, downloads."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from daemon.events import Event
from detectors.network.bind_shell import BindShell
from detectors.network.dns_tunnel import DnsTunnel, is_telling
from detectors.network.download_run import DownloadRun
from detectors.network.port_scan import PortScan
from tests.detectors.making import (
    ECONNREFUSED,
    EINPROGRESS,
    ENETUNREACH,
    PLAIN,
    SANDBOX,
    STRICT,
    asked,
    connected,
    executed,
    fresh,
    image_file,
    listened,
    sent,
    told,
)

SCAN, TUNNEL, DOWNLOAD = ("port-scan", "medium"), ("dns-tunnel", "medium"), ("download-and-run", "medium")


# --- scans


def test_many_ports_of_one_host() -> None:
    events = [connected("10.66.0.1", port, result=ECONNREFUSED) for port in range(1, 16)]
    assert told(PortScan(), *events[:14]) == []
    assert told(PortScan(), *events) == [SCAN]


def test_many_hosts_of_the_neighbourhood() -> None:
    events = [connected(f"10.66.0.{n}", 22) for n in range(1, 25)]
    assert told(PortScan(), *events[:23]) == []
    assert told(PortScan(), *events) == [SCAN]


@pytest.mark.parametrize(
    "events",
    [
        [connected("127.0.0.1", port) for port in range(1, 100)],
        [connected("10.66.0.1", port, at_s=port * 10) for port in range(1, 100)],
        [connected(f"93.184.{n}.1", 443) for n in range(200)],
        [connected("10.66.0.1", 443) for _ in range(1000)],
        [connected("10.66.0.1", 40000 + n) for n in range(50)],
        [connected(f"10.66.0.{n}", 0) for n in range(100)],
        [sent("10.66.0.1", 53) for _ in range(1000)],
    ],
    ids=["loopback", "slow", "crawler", "one service", "ftp", "own address", "lookups"],
)
def test_no_scan(events: list[Event]) -> None:
    assert told(PortScan(), *events) == []


# --- tunnels


@pytest.mark.parametrize(
    "name",
    [
        "a29f6ccdb85b42a9cac48360142492328d90918a34ec6a6dd9807dd9.1.t.corpus.example",
        "nbswy3dpo5xxe3demfzwkidb.x.org",
        "ab12cd34ef56ab12cd34.x.org",
        ".".join(["abcdefgh"] * 15) + ".x.org",
    ],
)
def test_a_name_that_carries_data(name: str) -> None:
    assert is_telling(name)


@pytest.mark.parametrize(
    "name",
    [
        "registry-1.docker.io",
        "d1a2b3c4e5f6g7.cloudfront.net",
        "production-registry-images-eu-central.s3.eu-central-1.amazonaws.com",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.org",
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
        "localhost",
        "",
    ],
)
def test_a_name_that_people_made_up(name: str) -> None:
    assert not is_telling(name)


def test_four_names_are_a_tunnel() -> None:
    events = [asked(f"{n}a9f6ccdb85b42a9cac48360142492328d.t.example.org", at_s=n) for n in range(4)]
    assert told(DnsTunnel(), *events[:3]) == []
    assert told(DnsTunnel(), *events) == [TUNNEL]


def test_names_of_different_owners_or_times_are_none() -> None:
    label = "a9f6ccdb85b42a9cac48360142492328d"
    apart = [asked(f"{label}.bucket{n}.org") for n in range(50)]
    slow = [asked(f"{n}{label}.example.org", at_s=n * 100) for n in range(50)]
    same = [asked(f"{label}.example.org") for _ in range(500)]
    for events in (apart, slow, same):
        assert told(DnsTunnel(), *events) == []


def test_a_flood_of_short_names() -> None:
    events = [asked(f"{n:04x}.example.org", at_s=n / 100) for n in range(200)]
    assert told(DnsTunnel(), *events[:199]) == []
    assert told(DnsTunnel(), *events) == [TUNNEL]


def test_names_on_command_lines() -> None:
    tool = [executed("nslookup", f"{n}a9f6ccdb85b42a9cac48360142492328d.t.example.org") for n in range(4)]
    files = [executed("gzip", f"/srv/{n}a9f6ccdb85b42a9cac48360142492328d.tar.gz") for n in range(40)]
    words = [executed("echo", f"{n}a9f6ccdb85b42a9cac48360142492328d") for n in range(40)]
    assert told(DnsTunnel(), *tool) == [TUNNEL]
    assert told(DnsTunnel(), *files, *words) == []


# --- shells


def served(
    pid: int, *, ppid: int = 1, stdio: tuple[int, ...] = (0, 1, 2), ancestors: tuple[int, ...] = ()
) -> Event:
    return executed("/bin/sh", pid=pid, ppid=ppid, ancestors=ancestors, inet_stdio=frozenset(stdio))


def test_a_listener_that_becomes_a_shell() -> None:
    assert told(BindShell(), listened("0.0.0.0", 31337, pid=20), served(20)) == [("bind-shell", "high")]


def test_a_listener_that_starts_a_shell() -> None:
    listener = listened("::", 31337, family=10, pid=20)
    assert told(BindShell(), listener, served(21, ppid=20)) == [("bind-shell", "high")]
    assert told(BindShell(), listener, served(23, ppid=22, ancestors=(22, 20))) == [("bind-shell", "high")]


def test_events_in_any_order() -> None:
    assert told(BindShell(), served(20, stdio=(0,)), listened("0.0.0.0", 31337, pid=20)) == [
        ("bind-shell", "high")
    ]


def test_on_the_loopback_it_is_milder() -> None:
    assert told(BindShell(), listened("127.0.0.1", 31337, pid=20), served(20)) == [("bind-shell", "medium")]


def test_no_bind_shell() -> None:
    detector = BindShell()
    assert told(detector, listened("0.0.0.0", 80, pid=20), executed("/bin/sh", pid=21, ppid=20)) == []
    assert told(detector, served(30, stdio=(1,), ancestors=(20,))) == []
    assert told(detector, served(31)) == []
    assert told(detector, listened("0.0.0.0", 0, pid=31)) == []
    assert told(detector, listened("0.0.0.0", 80, pid=31, result=-98)) == []
    detector.forget(SANDBOX)
    assert told(detector, listened("0.0.0.0", 80, pid=31)) == []


# --- downloads

TOOL = fresh("/tmp/.t/id")
RUN = executed("/tmp/.t/id", file=TOOL, fresh=True, at_s=2)
NETWORKED = replace(PLAIN, networking=True)


def test_fetched_and_run() -> None:
    for result in (0, EINPROGRESS):
        fetched = connected("198.51.100.9", 443, result=result, at_s=1)
        assert told(DownloadRun(), fetched, RUN, sandbox=NETWORKED) == [DOWNLOAD]


@pytest.mark.parametrize(
    "before",
    [
        connected("127.0.0.1", 8080, at_s=1),
        connected("198.51.100.9", 443, result=ENETUNREACH, at_s=1),
        connected("198.51.100.9", 53, at_s=1),
        connected("198.51.100.9", 443, at_s=-100),
        connected("198.51.100.9", 443, at_s=5),
        listened("0.0.0.0", 80, at_s=1),
    ],
)
def test_nothing_was_fetched(before: Event) -> None:
    assert told(DownloadRun(), before, RUN, sandbox=NETWORKED) == []


def test_what_the_image_has_was_not_fetched() -> None:
    fetched = connected("198.51.100.9", 443, at_s=1)
    run = executed("/usr/bin/id", file=image_file("/usr/bin/id"), at_s=2)
    assert told(DownloadRun(), fetched, run, sandbox=NETWORKED) == []


def test_what_the_allow_list_names_is_meant_to_be_fetched() -> None:
    sandbox = replace(STRICT, networking=True, egress=(ip_network("10.1.0.0/16"),))
    assert told(DownloadRun(), connected("10.1.0.1", 443, at_s=1), RUN, sandbox=sandbox) == []
    assert told(DownloadRun(), connected("10.2.0.1", 443, at_s=1), RUN, sandbox=sandbox) == [DOWNLOAD]


def test_the_next_sandbox_starts_anew() -> None:
    detector = DownloadRun()
    told(detector, connected("198.51.100.9", 443, at_s=1))
    detector.forget(SANDBOX)
    assert told(detector, RUN) == []

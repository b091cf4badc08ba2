"""Miners by argument, pool and name (res-miner-cpu)."""

from __future__ import annotations

import pytest

from daemon.events import Event
from detectors.resource.mining import Mining
from tests.detectors.making import STRICT, asked, connected, executed, fresh, limit, told

ENETUNREACH, EINPROGRESS = -101, -115


@pytest.mark.parametrize(
    "argv",
    [
        ("/tmp/xmrig", "-o", "stratum+tcp://10.66.3.3:3333", "-u", "4corpus"),
        ("nginx", "--url=stratum+ssl://10.66.3.3:443"),
        ("nginx", "-ostratum2+tcp://pool.example:3333"),
        ("nginx", "-o", "STRATUM+TCP://pool.example:3333"),
        ("nginx", "-o", "10.66.3.3:443", "--donate-level", "1"),
        ("nginx", "--donate-level=1"),
        ("nginx", "--randomx-1gb-pages"),
    ],
)
def test_a_miner_is_high_whatever_it_is_called(argv: tuple[str, ...]) -> None:
    assert told(Mining(), executed(*argv, file=fresh("/tmp/nginx"))) == [("miner-started", "high")]


@pytest.mark.parametrize(
    "argv",
    [
        ("grep", "-r", "stratum+tcp", "/usr/share"),
        ("echo", "see stratum+tcp://pool.example:3333 for more"),
        ("curl", "https://pool.example/stratum"),
        ("stratum+tcp://pool.example:3333",),
        ("./p",),
        (),
    ],
)
def test_who_only_speaks_of_it_is_in_order(argv: tuple[str, ...]) -> None:
    assert told(Mining(), executed(*argv, path="/usr/bin/x")) == []


@pytest.mark.parametrize("result", [0, EINPROGRESS, ENETUNREACH])
def test_a_pools_own_port_is_high_even_where_there_is_no_network(result: int) -> None:
    event = connected("10.66.3.3", 3333, result=result)
    assert told(Mining(), event, sandbox=STRICT) == [("mining-pool", "high")]


def test_a_port_that_others_use_too_is_medium_until_the_cpu_is_used_up() -> None:
    contact, busy = connected("198.51.100.7", 4444), limit("cpu", at_s=60)
    assert told(Mining(), contact) == [("mining-pool", "medium")]
    assert told(Mining(), contact, busy) == [("mining-pool", "medium"), ("mining-pool", "high")]
    assert told(Mining(), limit("cpu"), connected("198.51.100.7", 4444, at_s=60)) == [("mining-pool", "high")]


def test_busy_long_after_the_contact_is_another_matter() -> None:
    contact, busy = connected("198.51.100.7", 4444), limit("cpu", at_s=3600)
    assert told(Mining(), contact, busy) == [("mining-pool", "medium")]


@pytest.mark.parametrize(
    "query", ["pool.minexmr.com", "xmr-eu1.nanopool.org.", "XMR.2MINERS.COM", "f2pool.com"]
)
def test_a_pools_name_is_high(query: str) -> None:
    assert told(Mining(), asked(query)) == [("mining-pool", "high")]


@pytest.mark.parametrize(
    "event",
    [
        connected("127.0.0.1", 3333),
        connected("::1", 5555, family=10),
        connected("10.66.3.3", 443),
        connected("", 3333, family=1),
        asked("notnanopool.org"),
        asked("pypi.org"),
        asked(""),
        limit("cpu"),
        limit("memory"),
    ],
)
def test_other_addresses_and_names_are_in_order(event: Event) -> None:
    assert told(Mining(), event) == []

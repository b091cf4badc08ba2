"""The sandboxes' resolver, asked over real sockets at an address of loopback as at a network's gateway."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from daemon import resolver as module
from daemon.errors import ConfinementError, SensorError
from daemon.resolver import (
    ADDRESSES_LIMIT,
    BURST,
    CONNECTIONS_OF_ONE,
    QUERY_BYTES,
    Address,
    Resolver,
    is_public,
)
from tests.name_server import NameServer, name_server

pytestmark = pytest.mark.root  # port 53

GATEWAY = IPv4Address("127.83.0.1") + os.getpid() % 60_000
SOURCE = "127.0.0.1"
MANY = [f"45.84.107.{number}" for number in range(ADDRESSES_LIMIT)]
ZONE: dict[str, list[str] | str] = {
    "one.test": ["45.84.107.9"],
    "many.test": MANY,
    "inner.test": ["10.1.2.3", "45.84.107.9"],
}
ALLOWED = {*ZONE, "absent.test"}


@dataclass
class Sandbox:
    permitted: list[Address] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    sensor_is_gone: bool = False

    def allows(self, name: str) -> bool:
        return name in ALLOWED

    def reaches(self, address: Address) -> bool:
        return str(address).startswith("10.2.")

    def permit(self, name: str, addresses: list[Address], ttl_s: float) -> None:
        if self.sensor_is_gone:
            raise SensorError("no eBPF sensor runs")
        self.permitted += addresses

    def refused(self, name: str, reason: str) -> None:
        self.told.append((name, reason))


@pytest.fixture(scope="module")
def upstream() -> Iterator[NameServer]:
    with name_server(ZONE) as started:
        yield started


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@asynccontextmanager
async def serving(*servers: str) -> AsyncIterator[tuple[Resolver, Sandbox]]:
    resolver, sandbox = Resolver(servers), Sandbox()
    running = asyncio.create_task(resolver.run())
    await asyncio.sleep(0)
    try:
        await resolver.serve(GATEWAY, SOURCE, sandbox)
        yield resolver, sandbox
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def served(upstream: NameServer) -> AsyncIterator[tuple[Resolver, Sandbox]]:
    async with serving(upstream.address) as made:
        yield made


def a(name: str) -> dns.message.Message:
    return dns.message.make_query(name, dns.rdatatype.A)


async def udp(query: dns.message.Message, **options: Any) -> dns.message.Message:
    return await dns.asyncquery.udp(query, str(GATEWAY), timeout=5, **options)


async def tcp(query: dns.message.Message, **options: Any) -> dns.message.Message:
    return await dns.asyncquery.tcp(query, str(GATEWAY), timeout=5, **options)


def addresses(answer: dns.message.Message) -> list[str]:
    return sorted(str(record) for rrset in answer.answer for record in rrset)


async def test_what_does_not_fit_into_a_datagram_comes_by_tcp(served: tuple[Resolver, Sandbox]) -> None:
    cut = await udp(a("many.test"))
    assert (bool(cut.flags & dns.flags.TC), addresses(cut)) == (True, [])
    whole = await tcp(a("many.test"))
    assert addresses(whole) == sorted(MANY)
    assert {str(one) for one in served[1].permitted} == set(MANY)


async def test_one_connection_carries_several_queries(served: tuple[Resolver, Sandbox]) -> None:
    reader, writer = await asyncio.open_connection(str(GATEWAY), 53)
    for name in ("one.test", "absent.test", "elsewhere.test"):
        wire = a(name).to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
    rcodes = []
    for _ in range(3):
        length = int.from_bytes(await reader.readexactly(2), "big")
        rcodes.append(dns.message.from_wire(await reader.readexactly(length)).rcode())
    assert rcodes == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.REFUSED]
    assert served[1].told == [("elsewhere.test", "the policy does not have it")]
    writer.close()


async def test_one_sandbox_has_only_so_many_connections(served: tuple[Resolver, Sandbox]) -> None:
    del served
    opened = [await asyncio.open_connection(str(GATEWAY), 53) for _ in range(CONNECTIONS_OF_ONE)]
    reader, writer = await asyncio.open_connection(str(GATEWAY), 53)
    assert await reader.read() == b""
    for _, other in opened:
        other.close()
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        b"\xff" * 64,
        a("one.test").to_wire()[:-1],
        dns.message.make_response(a("one.test")).to_wire(),
        dns.message.make_query("one.test", "A", use_edns=True, pad=QUERY_BYTES + 1).to_wire(),
    ],
    ids=["nothing", "half a header", "noise", "cut", "an answer", "too long"],
)
async def test_what_is_no_query_gets_no_answer(served: tuple[Resolver, Sandbox], data: bytes) -> None:
    resolver, _ = served
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.sendto(data, (str(GATEWAY), 53))
        assert addresses(await udp(a("one.test"))) == ["45.84.107.9"]  # it goes on
        asker.settimeout(0)
        with pytest.raises(BlockingIOError):
            asker.recv(1024)
    assert resolver.dropped == 1


async def test_a_stranger_gets_no_answer(served: tuple[Resolver, Sandbox], upstream: NameServer) -> None:
    resolver, _ = served
    asked = len(upstream.asked)
    with pytest.raises(dns.exception.Timeout):
        await dns.asyncquery.udp(a("one.test"), str(GATEWAY), timeout=0.3, source="127.0.0.2")
    with pytest.raises(EOFError):
        await tcp(a("one.test"), source="127.0.0.2")
    assert (resolver.dropped, len(upstream.asked)) == (1, asked)


async def test_who_has_left_gets_no_answer(served: tuple[Resolver, Sandbox]) -> None:
    resolver, sandbox = served
    resolver.leave(sandbox)
    with pytest.raises(EOFError):
        await tcp(a("one.test"))


async def test_who_asks_too_fast_is_not_answered(served: tuple[Resolver, Sandbox]) -> None:
    resolver, sandbox = served
    sent = 10 * int(BURST)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        async with asyncio.timeout(30):
            for number in range(1, sent + 1):
                asker.sendto(a("elsewhere.test").to_wire(), (str(GATEWAY), 53))
                while number % 20 == 0 and resolver.dropped + len(sandbox.told) < number:
                    await asyncio.sleep(0.001)
    assert BURST <= len(sandbox.told) < sent


async def test_what_comes_as_it_ends_is_no_error(silent: str, caplog: pytest.LogCaptureFixture) -> None:
    """While answers under way are being given up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        async with serving(silent) as (resolver, _):
            asker.sendto(a("one.test").to_wire(), (str(GATEWAY), 53))
            while not resolver._in_flight:
                await asyncio.sleep(0.01)
            for _ in range(20):
                asker.sendto(a("many.test").to_wire(), (str(GATEWAY), 53))
    assert caplog.text == ""


async def test_an_inner_address_is_withheld(served: tuple[Resolver, Sandbox]) -> None:
    assert addresses(await udp(a("inner.test"))) == ["45.84.107.9"]
    assert served[1].told == [("inner.test", "it stands for 10.1.2.3, which is not public")]


async def test_other_kinds_of_records_are_empty(served: tuple[Resolver, Sandbox]) -> None:
    answer = await udp(dns.message.make_query("one.test", "TXT"))
    assert (answer.rcode(), answer.answer, served[1].permitted) == (dns.rcode.NOERROR, [], [])


async def test_where_the_kernel_was_not_told_there_is_no_answer(served: tuple[Resolver, Sandbox]) -> None:
    served[1].sensor_is_gone = True
    with pytest.raises(EOFError):
        await tcp(a("one.test"))


async def test_upstream_that_is_away_is_a_failure(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPSTREAM_S", 0.3)
    async with serving(silent):
        assert (await udp(a("one.test"))).rcode() == dns.rcode.SERVFAIL


async def test_a_port_that_another_has_is_told(upstream: NameServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((str(GATEWAY), 53))
        with pytest.raises(ConfinementError, match=f"no resolver for sandboxes at {GATEWAY}:53: .*in use"):
            async with serving(upstream.address):
                pass
        with socket.create_server((str(GATEWAY), 53)):
            pass  # nothing was left listening


@pytest.mark.parametrize("server", ["here", "1.2.3.4:port", "1.2.3"])
async def test_a_server_that_is_no_address_is_told(server: str) -> None:
    with pytest.raises(ConfinementError, match="set dns_servers"):
        async with serving(server):
            pass


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("45.84.107.9", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("2a00:1450::1", True),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:45.84.107.9", True),
        ("2002:a9fe:a9fe::1", False),
        ("2002:2d54:6b09::1", True),
        ("64:ff9b::169.254.169.254", False),
        ("64:ff9b::45.84.107.9", True),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public

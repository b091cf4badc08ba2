"""The sandboxes' only resolver: answers for allowed names, and lets the kernel know before the sandbox does.

It is asked at the gateway of the sandboxes' network. Only A and AAAA are answered, with the addresses alone:
whatever chain of names led there is the resolver's business. An address that is not public is withheld unless
the policy names its network, so that a name cannot be turned against the host's own network (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Protocol, cast

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import structlog

from daemon.errors import ConfinementError

PORT = 53
QUERY_BYTES = 512
UPSTREAM_S = 5.0
TTL_S = (5, 3600)
"""Shorter and longer ones are taken for these."""
ADDRESSES_LIMIT = 32
QUERIES_A_SECOND, BURST = 50.0, 100.0
IN_FLIGHT, IN_FLIGHT_OF_ONE = 256, 16
CONNECTIONS_OF_ONE = 4
IDLE_S = 5.0
CACHED = 2000
NAT64 = IPv6Network("64:ff9b::/96")
ANSWERED = (dns.rdatatype.A, dns.rdatatype.AAAA)

Address = IPv4Address | IPv6Address
log = structlog.get_logger()


class Asker(Protocol):
    """A sandbox, as the resolver knows it."""

    def allows(self, name: str) -> bool: ...

    def reaches(self, address: Address) -> bool:
        """Whether its policy names a network that holds the address."""

    def permit(self, name: str, addresses: list[Address], ttl_s: float) -> None:
        """In force when it returns. Raises SensorError."""

    def refused(self, name: str, reason: str) -> None: ...


@dataclass(slots=True)
class _Budget:
    """A token bucket, and how many queries are under way."""

    tokens: float = BURST
    filled_s: float = field(default_factory=time.monotonic)
    in_flight: int = 0
    connections: int = 0

    def take(self) -> bool:
        now_s = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now_s - self.filled_s) * QUERIES_A_SECOND)
        self.filled_s = now_s
        if self.tokens < 1 or self.in_flight >= IN_FLIGHT_OF_ONE:
            return False
        self.tokens -= 1
        return True


class Resolver:
    """`run` it beside the sandboxes; askers are known by the address that they ask from."""

    def __init__(self, servers: Iterable[str]) -> None:
        """`servers`: addresses, with `:port` if it is not 53; none: the host's own (resolv.conf(5))."""
        self.dropped = 0
        """Queries that nobody may ask, that cannot be read, or that came too fast."""
        self._servers = list(servers)
        self._askers: dict[str, Asker] = {}
        self._budgets: dict[str, _Budget] = {}
        self._listening: dict[IPv4Address, tuple[asyncio.DatagramTransport, asyncio.Server]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._in_flight = 0
        self._upstream: dns.asyncresolver.Resolver | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                await asyncio.Event().wait()
            finally:
                self._close()

    def _close(self) -> None:
        """Before the answers under way are given up: a group that ends takes no more of them."""
        self._tasks = None
        for transport, server in self._listening.values():
            transport.close()
            server.close()

    async def serve(self, gateway: IPv4Address, source: str, asker: Asker) -> None:
        """From now on it is answered. Raises ConfinementError."""
        if self._upstream is None:
            self._upstream = _upstream(self._servers)
        if gateway not in self._listening:
            self._listening[gateway] = await self._listen(gateway)
        self._askers[source], self._budgets[source] = asker, _Budget()

    def leave(self, asker: Asker) -> None:
        for source in [source for source, known in self._askers.items() if known is asker]:
            del self._askers[source], self._budgets[source]

    async def _listen(self, gateway: IPv4Address) -> tuple[asyncio.DatagramTransport, asyncio.Server]:
        loop, host = asyncio.get_running_loop(), str(gateway)
        try:
            server = await asyncio.start_server(self._accepted, host, PORT, limit=QUERY_BYTES + 2)
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._received), (host, PORT)
                )
            except BaseException:
                server.close()
                raise
        except OSError as error:
            raise ConfinementError(
                f"no resolver for sandboxes at {host}:{PORT}: {error.strerror}: end what else answers there, "
                "or choose another network in the profile"
            ) from error
        return transport, server

    # --- transports

    def _received(self, transport: asyncio.DatagramTransport, data: bytes, peer: tuple[str, int]) -> None:
        if self._tasks is None or not self._begin(peer[0]):
            return
        self._tasks.create_task(self._answer_datagram(transport, data, peer))

    async def _answer_datagram(
        self, transport: asyncio.DatagramTransport, data: bytes, peer: tuple[str, int]
    ) -> None:
        if (answer := await self._answer(peer[0], data)) is not None:
            transport.sendto(_fitting(answer), peer)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tasks is None:
            writer.close()
        else:
            self._tasks.create_task(self._connected(reader, writer))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str(writer.get_extra_info("peername")[0])
        budget = self._budgets.get(source)
        try:
            if budget is None or budget.connections >= CONNECTIONS_OF_ONE:
                return
            budget.connections += 1
            try:
                await self._converse(source, reader, writer)
            finally:
                budget.connections -= 1
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _converse(
        self, source: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Each message after its length of two bytes (RFC 1035, 4.2.2)."""
        while True:
            async with asyncio.timeout(IDLE_S):
                length = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(min(length, QUERY_BYTES + 1))
            if not self._begin(source) or (answer := await self._answer(source, data)) is None:
                return
            wire = answer.to_wire(max_size=65535)
            writer.write(len(wire).to_bytes(2, "big") + wire)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()

    # --- one query

    def _begin(self, source: str) -> bool:
        """False if it is not to be answered at all; else `_answer` must follow."""
        budget = self._budgets.get(source)
        if budget is None or self._in_flight >= IN_FLIGHT or not budget.take():
            self.dropped += 1
            return False
        budget.in_flight += 1
        self._in_flight += 1
        return True

    async def _answer(self, source: str, data: bytes) -> dns.message.Message | None:
        budget, asker = self._budgets.get(source), self._askers.get(source)
        try:
            query = _parsed(data)
            if query is None or asker is None:
                self.dropped += 1
                return None
            return await self._judged(asker, query)
        except Exception:  # one query's trouble is not another's
            log.exception("lookup failed", source=source)
            return None
        finally:
            self._in_flight -= 1
            if budget is not None:
                budget.in_flight -= 1

    async def _judged(self, asker: Asker, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        if not asker.allows(name):
            asker.refused(name, "the policy does not have it")
            return _response(query, dns.rcode.REFUSED)
        if question.rdclass != dns.rdataclass.IN or question.rdtype not in ANSWERED:
            return _response(query, dns.rcode.NOERROR)
        try:
            found = await self._looked_up(question)
        except dns.resolver.NXDOMAIN:
            return _response(query, dns.rcode.NXDOMAIN)
        except dns.exception.DNSException:
            return _response(query, dns.rcode.SERVFAIL)
        return _given(asker, query, name, found)

    async def _looked_up(self, question: dns.rrset.RRset) -> dns.resolver.Answer:
        if self._upstream is None:
            raise dns.resolver.NoNameservers
        return await self._upstream.resolve(
            question.name, question.rdtype, raise_on_no_answer=False, search=False, lifetime=UPSTREAM_S
        )


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[asyncio.DatagramTransport, bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class for it is none by inheritance before Python 3.12
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(self._transport, data, addr)


def _upstream(servers: list[str]) -> dns.asyncresolver.Resolver:
    try:
        upstream = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            upstream.nameservers = [_server(text) for text in servers]
    except (dns.resolver.NoResolverConfiguration, ValueError) as error:
        raise ConfinementError(
            f"sandboxes have no resolver: {error}: set dns_servers in the settings, or nameserver in "
            "/etc/resolv.conf"
        ) from error
    upstream.cache = dns.resolver.LRUCache(CACHED)
    return upstream


def _server(text: str) -> dns.nameserver.Nameserver:
    """An address, or IPv4:port, or [IPv6]:port. Raises ValueError."""
    host, port = text, str(PORT)
    if text.count(":") == 1 or "]:" in text:
        host, _, port = text.rpartition(":")
    return dns.nameserver.Do53Nameserver(str(ip_address(host.strip("[]"))), int(port))


def _parsed(data: bytes) -> dns.message.Message | None:
    """None for what is no plain query."""
    if len(data) > QUERY_BYTES:
        return None
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return None
    plain = not query.flags & dns.flags.QR and query.opcode() == dns.opcode.QUERY
    return query if plain and len(query.question) == 1 else None


def _response(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    return response


def _given(
    asker: Asker, query: dns.message.Message, name: str, found: dns.resolver.Answer
) -> dns.message.Message:
    """The kernel lets the addresses through before the sandbox can know them."""
    rrset = found.rrset if found.rrset is not None else ()
    all_of_it = [ip_address(record.address) for record in list(rrset)[:ADDRESSES_LIMIT]]
    addresses = [one for one in all_of_it if is_public(one) or asker.reaches(one)]
    if len(addresses) < len(all_of_it):
        withheld = next(one for one in all_of_it if one not in addresses)
        asker.refused(name, f"it stands for {withheld}, which is not public")
    if not addresses:
        return _response(query, dns.rcode.REFUSED if all_of_it else dns.rcode.NOERROR)
    ttl_s = min(max(int(found.chaining_result.minimum_ttl), TTL_S[0]), TTL_S[1])
    asker.permit(name, addresses, ttl_s)
    response, question = _response(query, dns.rcode.NOERROR), query.question[0]
    response.answer.append(
        dns.rrset.from_text_list(question.name, ttl_s, "IN", question.rdtype, [str(one) for one in addresses])
    )
    return response


def _fitting(answer: dns.message.Message) -> bytes:
    """Where it does not fit into a datagram its reader is told to ask by TCP."""
    with suppress(dns.exception.TooBig):
        return answer.to_wire(max_size=QUERY_BYTES)
    answer.answer.clear()
    answer.flags |= dns.flags.TC
    return answer.to_wire(max_size=QUERY_BYTES)


def is_public(address: Address) -> bool:
    """By the address that is meant, if IPv6 carries an IPv4 one."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
        if embedded is not None:
            return is_public(embedded)
    return address.is_global and not address.is_multicast and not address.is_reserved

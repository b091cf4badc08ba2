"""Where sandboxes may connect to, as the kernel side enforces it: by network namespace."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from daemon.errors import SensorError
from daemon.sensors import abi
from daemon.sensors.libbpf import Map

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Ports = tuple[tuple[int, int], ...]
"""Ranges, both ends included."""
ALL_PORTS: Ports = ((1, 65535),)
PORT_RANGES = 8
_COOKIE_BITS, _MAPPED_BITS = 64, 96
_MAPPED = b"\0" * 10 + b"\xff\xff"
_RANGES = struct.Struct(f"<{PORT_RANGES}H")


@dataclass(frozen=True, slots=True)
class Destination:
    network: Network
    ports: Ports = ALL_PORTS


class Egress:
    """The kernel takes the longest prefix that fits: each network has the ports of those around it too."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._confined, self._networks = maps["confined"], maps["networks"]
        self._fixed: dict[int, tuple[Destination, ...]] = {}

    def confine(self, cookie: int, sandbox: int, destinations: Iterable[Destination]) -> None:
        """To these and loopback. In no moment between does it reach more than before and after."""
        fixed = tuple(destinations)
        allowed = {_key(cookie, one.network): _packed(_ports_of(one.network, fixed)) for one in fixed}
        for key, ports in allowed.items():
            self._networks[key] = ports
        self._drop(cookie, keep=allowed.keys())
        self._confined[abi.U64.pack(cookie)] = abi.U64.pack(sandbox)
        self._fixed[cookie] = fixed

    def permit(self, cookie: int, address: Address, ports: Ports) -> None:
        """One more destination; none for who may go nowhere at all."""
        if fixed := self._fixed.get(cookie):
            alone = network_of(address)
            merged = _ports_of(alone, (*fixed, Destination(alone, ports)))
            self._networks[_key(cookie, alone)] = _packed(merged)

    def retract(self, cookie: int, address: Address) -> None:
        """What `permit` gave; what it reaches beside that stays."""
        alone, fixed = network_of(address), self._fixed.get(cookie, ())
        if any(one.network == alone for one in fixed):
            self._networks[_key(cookie, alone)] = _packed(_ports_of(alone, fixed))
        else:
            self._networks.discard(_key(cookie, alone))

    def lift(self, cookie: int) -> None:
        self._fixed.pop(cookie, None)
        self._confined.discard(abi.U64.pack(cookie))
        self._drop(cookie, keep=frozenset())

    def _drop(self, cookie: int, *, keep: Collection[bytes]) -> None:
        found = [key for key in self._networks if abi.NETWORK.unpack(key).cookie == cookie]
        for key in found:
            if key not in keep:
                self._networks.discard(key)


def network_of(address: Address) -> Network:
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)


def _ports_of(network: Network, destinations: Iterable[Destination]) -> Ports:
    return merged(r for one in destinations if _holds(one.network, network) for r in one.ports)


def _holds(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def merged(ranges: Iterable[tuple[int, int]]) -> Ports:
    """In order, without overlaps."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _packed(ports: Ports) -> bytes:
    if len(ports) > PORT_RANGES:
        raise SensorError(f"a network with more than {PORT_RANGES} ranges of ports: name fewer, wider ones")
    padded = (*ports, *((0, 0),) * (PORT_RANGES - len(ports)))
    return b"".join(_RANGES.pack(*(ends[side] for ends in padded)) for side in (0, 1))


def _key(cookie: int, network: Network) -> bytes:
    """IPv4 as IPv4-mapped."""
    v4 = isinstance(network, IPv4Network)
    address = (_MAPPED if v4 else b"") + network.network_address.packed
    return abi.NETWORK.pack(_COOKIE_BITS + (_MAPPED_BITS if v4 else 0) + network.prefixlen, cookie, address)

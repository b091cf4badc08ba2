"""Where sandboxes may connect to, as the kernel side enforces it: by network namespace."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from daemon.sensors import abi
from daemon.sensors.libbpf import Map

Network = IPv4Network | IPv6Network
_COOKIE_BITS, _MAPPED_BITS = 64, 96
_MAPPED = b"\0" * 10 + b"\xff\xff"


class Egress:
    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._confined, self._networks = maps["confined"], maps["networks"]

    def confine(self, cookie: int, sandbox: int, networks: Iterable[Network]) -> None:
        """To these networks and loopback. In no moment between does it reach more than before and after."""
        allowed = {_key(cookie, network) for network in networks}
        for key in allowed:
            self._networks[key] = abi.U32.pack(1)
        self._drop(cookie, keep=allowed)
        self._confined[abi.U64.pack(cookie)] = abi.U64.pack(sandbox)

    def lift(self, cookie: int) -> None:
        self._confined.discard(abi.U64.pack(cookie))
        self._drop(cookie, keep=frozenset())

    def _drop(self, cookie: int, *, keep: Collection[bytes]) -> None:
        found = [key for key in self._networks if abi.NETWORK.unpack(key).cookie == cookie]
        for key in found:
            if key not in keep:
                self._networks.discard(key)


def _key(cookie: int, network: Network) -> bytes:
    """IPv4 as IPv4-mapped."""
    v4 = isinstance(network, IPv4Network)
    address = (_MAPPED if v4 else b"") + network.network_address.packed
    return abi.NETWORK.pack(_COOKIE_BITS + (_MAPPED_BITS if v4 else 0) + network.prefixlen, cookie, address)

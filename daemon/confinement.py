"""Egress policies in force: in the kernel before a sandbox's go, and again after a sensor came back."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import Path

import structlog

from daemon.errors import ConfinementError, SensorError
from daemon.events import Enrolled, NameRefused, Process, Tier
from daemon.pipeline import Pipeline
from daemon.resolver import Resolver
from daemon.sandbox.egress import EgressPolicy
from daemon.sensing import Sensing
from daemon.sensors.ebpf import EbpfSensor
from daemon.sensors.egress import Destination, Ports, merged, network_of

Address = IPv4Address | IPv6Address
GRACE_S = 30.0
"""How long an address may be used after its TTL: who has just been told it is still on the way."""
RESOLVED_LIMIT = 256

log = structlog.get_logger()


class Confinement:
    def __init__(self, sensing: Sensing, pipeline: Pipeline, servers: Iterable[str]) -> None:
        self.resolver = Resolver(servers)
        self._sensing = sensing
        self._pipeline = pipeline
        self._confined: dict[str, Confined] = {}

    async def confine(self, container: str, pid: int, policy: EgressPolicy) -> None:
        """In force when it returns. Raises ConfinementError."""
        self._sensing.flush()
        confined = Confined(container, policy, self._sensing, self._pipeline)
        try:
            confined.apply()
        except SensorError as error:
            raise ConfinementError(
                f"the profile's egress list cannot be enforced: {error}; `container-kit doctor` says more"
            ) from error
        self._confined[container] = confined
        if policy.resolver is not None:
            await self.resolver.serve(policy.resolver, own_address(pid), confined)

    def enrolled(self, event: Enrolled) -> None:
        """A sensor that is new knows no policy yet."""
        confined = self._confined.get(event.sandbox)
        if confined is None or confined.sensor is self._sensing.ebpf:
            return
        try:
            confined.apply()
        except SensorError:
            log.exception("egress is not confined", container=event.sandbox[:12])

    def forget(self, container: str) -> None:
        if (confined := self._confined.pop(container, None)) is not None:
            self.resolver.leave(confined)
            confined.end()


class Confined:
    """One sandbox: what it may reach, and the addresses that its lookups have added for a time."""

    def __init__(self, container: str, policy: EgressPolicy, sensing: Sensing, pipeline: Pipeline) -> None:
        self.sensor: EbpfSensor | None = None
        self._container = container
        self._policy = policy
        self._sensing = sensing
        self._pipeline = pipeline
        self._fixed = [Destination(network, merged(ports)) for network, ports in policy.networks]
        self._resolved: OrderedDict[Address, tuple[Ports, asyncio.TimerHandle]] = OrderedDict()

    def apply(self) -> None:
        """Raises SensorError where no sensor can enforce it."""
        sensor = self._sensing.ebpf
        if sensor is None:
            raise SensorError("no eBPF sensor runs")
        quarantined = self._container in self._sensing.quarantined
        sensor.set_egress(self._container, [] if quarantined else self._fixed)
        for address, (ports, _) in self._resolved.items():
            sensor.permit(self._container, address, ports)
        self.sensor = sensor
        self._tell()

    def allows(self, name: str) -> bool:
        return bool(self._policy.ports_of(name))

    def reaches(self, address: Address) -> bool:
        return any(address in one.network for one in self._fixed)

    def permit(self, name: str, addresses: list[Address], ttl_s: float) -> None:
        ports = merged(self._policy.ports_of(name))
        for address in addresses:
            self._permit(address, ports, ttl_s + GRACE_S)
        self._tell()

    def refused(self, name: str, reason: str) -> None:
        refused = NameRefused(
            time_ns=time.monotonic_ns(),
            sandbox=self._container,
            process=Process(pid=0),
            tier=Tier.RESOLVER,
            name=name,
            reason=reason,
        )
        self._pipeline.feed([refused])

    def end(self) -> None:
        for _, timer in self._resolved.values():
            timer.cancel()

    def _permit(self, address: Address, ports: Ports, lifetime_s: float) -> None:
        if self.sensor is None or self.sensor is not self._sensing.ebpf:
            raise SensorError("no eBPF sensor runs")
        if address in self._resolved:
            before, timer = self._resolved.pop(address)
            timer.cancel()
            ports = merged((*before, *ports))
        elif len(self._resolved) >= RESOLVED_LIMIT:
            self._expire(next(iter(self._resolved)))
        self.sensor.permit(self._container, address, ports)
        timer = asyncio.get_running_loop().call_later(lifetime_s, self._expire, address)
        self._resolved[address] = (ports, timer)

    def _expire(self, address: Address) -> None:
        _, timer = self._resolved.pop(address)
        timer.cancel()
        if self.sensor is not None:
            with suppress(SensorError):  # it ended
                self.sensor.retract(self._container, address)
        self._tell()

    def _tell(self) -> None:
        """The detectors judge by the same list."""
        if (expected := self._pipeline.expected(self._container)) is not None:
            networks = [one.network for one in self._fixed] + [network_of(one) for one in self._resolved]
            self._pipeline.expect(replace(expected, egress=tuple(networks)))


def own_address(pid: int) -> str:
    """The first of the network that `pid` is in, from the kernel's routing table. Raises ConfinementError."""
    try:
        lines = Path(f"/proc/{pid}/net/fib_trie").read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ConfinementError(f"the sandbox has ended: {error.strerror}") from error
    for line, kind in pairwise(lines):
        address = line.rpartition("|-- ")[2]
        if kind.strip() == "/32 host LOCAL" and not address.startswith("127."):
            return address
    raise ConfinementError("the sandbox has no IPv4 address: its network is not the one of the profile")

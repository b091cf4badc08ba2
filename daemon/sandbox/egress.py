"""Where a sandbox may connect to: the profile's list is the ceiling, a request may narrow it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from daemon.errors import PolicyError

Network = IPv4Network | IPv6Network
Range = tuple[int, int]
ANY_PORT: Range = (1, 65535)
PORTS_LIMIT = 8  # as many as the kernel side keeps of a network
RULES_LIMIT = 64
DNS_PORT = 53
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}: write a network such as 192.0.2.0/24 or 2001:db8::/32") from error


def _name(text: str) -> str:
    lowered = text.lower().removesuffix(".")
    if len(lowered) > 253 or not _NAME.fullmatch(lowered):
        raise ValueError("write a name such as example.org, *.example.org for all below it, or * for any")
    return lowered


def _range(value: object) -> object:
    """443, or "8000-8100"."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)):
        return (int(found[1]), int(found[2]))
    return value


def _in_order(ports: Range) -> Range:
    if not 1 <= ports[0] <= ports[1] <= 65535:
        raise ValueError("write a port from 1 to 65535, or a range such as '8000-8100'")
    return ports


Ports = Annotated[
    Range,
    BeforeValidator(_range, json_schema_input_type=int | str | Range),
    AfterValidator(_in_order),
]


class EgressRule(BaseModel):
    """One destination: a network or a name. Names are resolved by the daemon alone, to public addresses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Annotated[str, AfterValidator(_network)] | None = None
    name: Annotated[str, Field(max_length=255), AfterValidator(_name)] | None = None
    ports: list[Ports] = Field(default=[], max_length=PORTS_LIMIT, description="TCP and UDP; empty: all")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.network is None) == (self.name is None):
            raise ValueError("a rule has either a network or a name")
        return self

    @property
    def ranges(self) -> tuple[Range, ...]:
        return tuple(self.ports) or (ANY_PORT,)

    def holds(self, other: EgressRule) -> bool:
        """Whether the other's destination lies in this one's, whatever the ports."""
        if self.name is not None:
            return other.name is not None and matches(self.name, other.name)
        return other.network is not None and _within(
            ip_network(other.network), ip_network(self.network or "")
        )

    def __str__(self) -> str:
        ports = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ports) or "all ports"
        return f"{self.name or self.network} ({ports})"


Ceiling = Literal["anywhere"] | Annotated[list[EgressRule], Field(max_length=RULES_LIMIT)]


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`resolver` is where the daemon answers the sandbox's lookups; None if no name is allowed."""

    rules: tuple[EgressRule, ...]
    resolver: IPv4Address | None = None

    def ports_of(self, name: str) -> tuple[Range, ...]:
        """Those that the addresses of this name may be reached by; empty: the name is not allowed."""
        rules = (rule for rule in self.rules if rule.name is not None and matches(rule.name, name))
        return tuple(dict.fromkeys(ports for rule in rules for ports in rule.ranges))

    @property
    def networks(self) -> tuple[tuple[Network, tuple[Range, ...]], ...]:
        """What is allowed without a lookup, the resolver itself included."""
        fixed = [(ip_network(rule.network), rule.ranges) for rule in self.rules if rule.network is not None]
        if self.resolver is not None:
            fixed.append((IPv4Network(self.resolver), ((DNS_PORT, DNS_PORT),)))
        return tuple(fixed)


def matches(pattern: str, name: str) -> bool:
    """`*.example.org` stands for all below example.org, not for itself."""
    if pattern in {"*", name}:
        return True
    return pattern.startswith("*.") and name.endswith(pattern[1:])


def effective(ceiling: Ceiling, wanted: list[EgressRule] | None) -> tuple[EgressRule, ...] | None:
    """None: anywhere. Raises PolicyError for a rule that the ceiling does not hold."""
    if isinstance(ceiling, str):
        return None if wanted is None else tuple(wanted)
    if wanted is None:
        return tuple(ceiling)
    return tuple(rule for asked in wanted for rule in _narrowed(ceiling, asked))


def _narrowed(ceiling: Iterable[EgressRule], asked: EgressRule) -> Iterator[EgressRule]:
    """Ports that were not named are the ceiling's."""
    holding = [rule for rule in ceiling if rule.holds(asked)]
    given = tuple(ports for rule in holding for ports in rule.ranges)
    wanted = tuple(asked.ports) or given
    if not holding or not all(any(_inside(ports, whole) for whole in given) for ports in wanted):
        raise PolicyError(f"egress outside the profile: {asked}")
    yield asked.model_copy(update={"ports": list(dict.fromkeys(wanted))})


def _inside(ports: Range, whole: Range) -> bool:
    return whole[0] <= ports[0] and ports[1] <= whole[1]


def _within(inner: Network, outer: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)

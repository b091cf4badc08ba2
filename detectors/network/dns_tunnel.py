"""Data in the names of DNS queries."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from daemon.events import DatagramSent, Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox, Recent
from detectors.evidence import clip

DNS_TUNNEL = Rule(
    id="dns-tunnel",
    title="Data sent in DNS queries",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1071.004", "T1048.003", "T1572"),
    why="Resolvers carry queries to the attacker's name server even where nothing else gets out. Many "
    "different, long, random names below one domain are data.",
    remedy="Launch without a network, or with a resolver that answers an allow-list of domains.",
)

SPAN_NS = 60_000_000_000
NAMES = 4
"""Different telling names below one domain."""
FLOOD = 200
"""Different names below one domain, however they look."""
DOMAINS = 16
RUN = 20
"""Characters without a dot, dash or underscore: names that people make up have words in them."""
BITS = 3.0
"""Entropy of a character of such a run: hex has near 4, base32 near 5, padding next to none."""
NAME_CHARACTERS = 120
NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.){2,}[A-Za-z]{2,63}\.?\Z")


class _Seen:
    def __init__(self) -> None:
        self.telling: Recent[str] = Recent(SPAN_NS, limit=NAMES)
        self.all: Recent[str] = Recent(SPAN_NS)


class DnsTunnel(Detector):
    """Names on command lines count as well: a tool may ask by a call that is not watched (write(2))."""

    rules = (DNS_TUNNEL,)
    events = (DatagramSent, ProcessExecuted)
    syscalls = frozenset({"sendto", "sendmsg", "sendmmsg", "connect"})

    def __init__(self) -> None:
        self._domains: PerSandbox[Bounded[str, _Seen]] = PerSandbox(lambda: Bounded(DOMAINS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        for name in _names(event):
            domain = ".".join(name.split(".")[-2:])
            telling, different = self._count(event, domain, name)
            if telling >= NAMES or different >= FLOOD:
                yield finding(
                    DNS_TUNNEL,
                    event,
                    domain=clip(domain),
                    last=clip(name),
                    telling=telling,
                    different=different,
                    within_s=SPAN_NS // 1_000_000_000,
                )

    def _count(self, event: Event, domain: str, name: str) -> tuple[int, int]:
        domains = self._domains.of(event.sandbox)
        seen = domains.get(domain) or _Seen()
        domains[domain] = seen
        telling = seen.telling.add(name, event.time_ns) if is_telling(name) else 0
        return telling, seen.all.add(name, event.time_ns)

    def forget(self, sandbox: str) -> None:
        self._domains.forget(sandbox)


def _names(event: Event) -> Iterable[str]:
    if isinstance(event, DatagramSent):
        return [event.query.rstrip(".").lower()] if event.query else []
    if isinstance(event, ProcessExecuted):
        texts = [text.rstrip(".").lower() for text in event.argv[1:] if NAME.match(text)]
        return [text for text in texts if is_telling(text)]
    return []


def is_telling(name: str) -> bool:
    """Looks like data: a long run of many different characters, or a name that is filled to the brim."""
    longest = max(re.split(r"[._-]", name), key=len)
    return len(name) >= NAME_CHARACTERS or (len(longest) >= RUN and _entropy(longest) >= BITS)


def _entropy(text: str) -> float:
    """In bits a character."""
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)

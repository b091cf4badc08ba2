"""Mining of cryptocurrency: the protocol's addresses in argv, pools by port and by name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Connected, DatagramSent, Event, LimitReached, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.addresses import is_internet, is_loopback
from detectors.bounded import PerSandbox, Recent
from detectors.evidence import clip, clip_all

MINER = Rule(
    id="miner-started",
    title="A miner was started",
    category=Category.RESOURCE,
    severity=Severity.HIGH,
    techniques=("T1496",),
    why="The arguments name a pool by the stratum protocol or are options that only miners have, "
    "whatever the program is called.",
    remedy="Stop the sandbox and find out how the program came in: that way is open to worse.",
)
POOL = Rule(
    id="mining-pool",
    title="A mining pool was contacted",
    category=Category.RESOURCE,
    severity=Severity.HIGH,
    techniques=("T1496",),
    why="The port or the name is one that mining pools use. Ports that other services use as well weigh "
    "less, until the sandbox also uses up its CPU.",
    remedy="Look at what runs; allow the sandbox only the addresses that it needs.",
)

# Arguments, whole: `grep stratum+tcp notes.txt` is no miner.
STRATUM = re.compile(r"(?:-[oO]|-{1,2}[\w-]{1,40}=)?stratum2?(?:\+\w{2,8})?://\S+", re.IGNORECASE)
OPTIONS = (
    "--donate-level",
    "--randomx-",
    "--cpu-max-threads-hint",
    "--nicehash",
    "--rig-id",
    "--coin=monero",
)
PORTS = frozenset({3333, 3334, 14433, 14444, 45560, 45700})
SHARED_PORTS = frozenset({4444, 5555, 7777, 9999})
"""Usual among pools, and among other things."""
POOLS = (
    *("minexmr.com", "supportxmr.com", "moneroocean.stream", "nanopool.org", "hashvault.pro", "xmrpool.eu"),
    *("nicehash.com", "f2pool.com", "2miners.com", "herominers.com", "unmineable.com", "c3pool.com"),
    *("dwarfpool.com", "monerohash.com", "minergate.com", "ethermine.org", "flypool.org", "zpool.ca"),
)
SPAN_NS = 300_000_000_000
ARGUMENTS_LIMIT = 64
BUSY = "cpu"


class Mining(Detector):
    """Remembers shared ports for the CPU limit, and the CPU limit for shared ports."""

    rules = (MINER, POOL)
    events = (ProcessExecuted, Connected, DatagramSent, LimitReached)
    syscalls = frozenset({"connect", "sendto", "sendmsg", "sendmmsg"})

    def __init__(self) -> None:
        self._seen: PerSandbox[Recent[str]] = PerSandbox(lambda: Recent(SPAN_NS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, ProcessExecuted) and _is_miner(event.argv):
            yield finding(MINER, event, identifier=clip(event.file.path), argv=clip_all(event.argv))
        elif isinstance(event, Connected):
            yield from self._connected(event)
        elif isinstance(event, DatagramSent) and _is_pool(event.query):
            yield finding(POOL, event, identifier=clip(event.query), query=clip(event.query))
        elif isinstance(event, LimitReached) and event.kind == BUSY:
            yield from self._throttled(event)

    def forget(self, sandbox: str) -> None:
        self._seen.forget(sandbox)

    def _connected(self, event: Connected) -> Iterator[Finding]:
        if not is_internet(event.family) or is_loopback(event.address):
            return
        place = f"{clip(event.address, 64)}:{event.port}"
        if event.port in SHARED_PORTS:
            self._seen.of(event.sandbox).add(place, event.time_ns)
            busy = self._seen.of(event.sandbox).has(BUSY, event.time_ns)
            yield _pool(event, place, Severity.HIGH if busy else Severity.MEDIUM)
        elif event.port in PORTS:
            yield _pool(event, place, Severity.HIGH)

    def _throttled(self, event: LimitReached) -> Iterator[Finding]:
        seen = self._seen.of(event.sandbox)
        if seen.add(BUSY, event.time_ns) > 1:
            yield _pool(event, BUSY, Severity.HIGH)


def _pool(event: Event, place: str, severity: Severity) -> Finding:
    return finding(POOL, event, severity=severity, identifier=f"{place}:{severity}", place=place)


def _is_miner(argv: tuple[str, ...]) -> bool:
    arguments = [argument[:512] for argument in argv[1:ARGUMENTS_LIMIT]]
    return any(STRATUM.fullmatch(each) or each.startswith(OPTIONS) for each in arguments)


def _is_pool(query: str) -> bool:
    name = query[:256].rstrip(".").lower()
    return any(name == pool or name.endswith(f".{pool}") for pool in POOLS)

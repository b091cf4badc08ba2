"""Swapping what a path leads to, fast and often: the inside half of races with the runtime or a collector."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileLinked, SyscallMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox, Recent
from detectors.evidence import clip
from detectors.filesystem.paths import plain

PATH_SWAP = Rule(
    id="path-swap-race",
    title="A path was swapped again and again",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611",),
    why="Between the check of a path and its use somebody swaps it for a link to elsewhere: the way to "
    "mount or copy outside of a container's root (CVE-2021-30465, CVE-2018-15664).",
    remedy="Stop the sandbox before anything is mounted below, or copied from, its volumes. Update the "
    "runtime.",
)

RENAME_EXCHANGE = 2
FLAGS = 4
"""Which argument of renameat2(2)."""
SPAN_NS = 10_000_000_000
SWAPS = 10
LINKS = 30
"""Of one name; ordinary programs relink a name once in a while."""
NAMES = 32


class PathSwap(Detector):
    rules = (PATH_SWAP,)
    events = (SyscallMade, FileLinked)
    syscalls = frozenset({"renameat2", "symlink", "symlinkat"})

    def __init__(self) -> None:
        self._swaps: PerSandbox[Recent[int]] = PerSandbox(lambda: Recent(SPAN_NS, limit=SWAPS))
        self._links: PerSandbox[Bounded[str, Recent[int]]] = PerSandbox(lambda: Bounded(NAMES))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, SyscallMade) and _is_exchange(event):
            count = self._swaps.of(event.sandbox).add(event.time_ns, event.time_ns)
            if count >= SWAPS:
                yield finding(PATH_SWAP, event, identifier="exchange", times=count)
        elif isinstance(event, FileLinked) and event.symbolic:
            count = self._relinked(event)
            if count >= LINKS:
                yield finding(PATH_SWAP, event, identifier="link", link=clip(event.link), times=count)

    def _relinked(self, event: FileLinked) -> int:
        names = self._links.of(event.sandbox)
        name = clip(plain(event.link))
        times: Recent[int] = names.get(name) or Recent(SPAN_NS, limit=LINKS)
        names[name] = times
        return times.add(event.time_ns, event.time_ns)

    def forget(self, sandbox: str) -> None:
        self._swaps.forget(sandbox)
        self._links.forget(sandbox)


def _is_exchange(event: SyscallMade) -> bool:
    if event.syscall != "renameat2" or len(event.arguments) <= FLAGS:
        return False
    return bool(event.arguments[FLAGS] & RENAME_EXCHANGE)

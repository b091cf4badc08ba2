"""Running a file that came in over the network a moment ago."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Connected, Event, ProcessExecuted
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import SANDBOXES, Bounded
from detectors.evidence import clip, clip_all
from detectors.network.outward import attempted, is_allowed, is_under_way

DOWNLOAD_RUN = Rule(
    id="download-and-run",
    title="A new program was run right after a connection to the outside",
    category=Category.NETWORK,
    severity=Severity.MEDIUM,
    techniques=("T1105", "T1204.002"),
    why="First something was fetched, then a file ran that is not the image's: how intruders bring their "
    "tools.",
    remedy="Fetch the file and look at it. Mount writable places noexec, and allow only the destinations "
    "that a build needs.",
)

SPAN_NS = 60_000_000_000
DNS_PORT = 53


class DownloadRun(Detector):
    """What an allow-list names is meant to be fetched from, and does not count."""

    rules = (DOWNLOAD_RUN,)
    events = (Connected, ProcessExecuted)
    syscalls = frozenset({"connect"})

    def __init__(self) -> None:
        self._last: Bounded[str, Connected] = Bounded(SANDBOXES)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, Connected) and _may_fetch(event, sandbox):
            self._last[event.sandbox] = event
        elif isinstance(event, ProcessExecuted) and event.fresh and event.file.links:
            last = self._last.get(event.sandbox)
            if last is not None and 0 <= event.time_ns - last.time_ns <= SPAN_NS:
                yield finding(
                    DOWNLOAD_RUN,
                    event,
                    path=clip(event.file.path),
                    argv=clip_all(event.argv),
                    address=last.address,
                    port=last.port,
                )

    def forget(self, sandbox: str) -> None:
        self._last.pop(sandbox, None)


def _may_fetch(event: Connected, sandbox: Expectation) -> bool:
    if event.port in (0, DNS_PORT) or not is_under_way(event):
        return False
    return any(not is_allowed(address, sandbox) for _, address in attempted(event, sandbox))

"""Sockets of container engines: whoever talks to one can start a container that is the host."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator

from daemon.events import Connected, Event, FileKind, FileLinked, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox
from detectors.evidence import clip
from detectors.filesystem.paths import on_host, plain
from detectors.filesystem.sockets import NAMES, is_engine

ENGINE_SOCKET = Rule(
    id="engine-socket",
    title="Socket of a container engine used",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1610", "T1611", "T1552.007"),
    why="The engine does as root on the host whatever it is asked by its socket: a container with the "
    "host's root mounted is one request away.",
    remedy="Stop the sandbox; if it connected, look in the engine's log for what it asked. Never mount the "
    "socket into a container; a filtering proxy in front of it is the least.",
)

AF_UNIX = 1
LINKS = 32


class EngineSocket(Detector):
    """A mount under another name is known by its source; links to such a socket are remembered."""

    rules = (ENGINE_SOCKET,)
    events = (Connected, FileOpened, FileLinked)
    syscalls = frozenset({"connect", "symlink", "symlinkat", "link", "linkat"})
    names = NAMES

    def __init__(self) -> None:
        self._links: PerSandbox[Bounded[str, str]] = PerSandbox(lambda: Bounded(LINKS))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, FileLinked):
            self._remember(event)
        if not isinstance(event, Connected | FileOpened):
            return
        socket = next(filter(is_engine, self._paths(event, sandbox)), None)
        if socket is not None:
            yield finding(
                ENGINE_SOCKET,
                event,
                severity=_severity(event),
                identifier=clip(posixpath.basename(socket)),
                socket=clip(socket),
                syscall=event.syscall,
                result=event.result,
            )

    def _remember(self, event: FileLinked) -> None:
        target, link = plain(event.target), plain(event.link)
        target = self._links.of(event.sandbox).get(target, target)
        if is_engine(target):
            self._links.of(event.sandbox)[link] = target

    def _paths(self, event: Connected | FileOpened, sandbox: Expectation) -> Iterator[str]:
        """By all names it has: as passed, as linked, as reached, on the host."""
        if isinstance(event, Connected) and event.family == AF_UNIX and event.path:
            passed = event.path if event.path.startswith("@") else plain(event.path)
            yield passed
            yield self._links.of(event.sandbox).get(passed, "")
            yield sandbox.host_path(passed) or passed
        if event.file is not None and (isinstance(event, Connected) or _is_socket(event)):
            yield event.file.path
            yield on_host(event.file, sandbox)

    def forget(self, sandbox: str) -> None:
        self._links.forget(sandbox)


def _is_socket(event: FileOpened) -> bool:
    """open(2) of a socket fails with ENXIO, so that mostly there is no file to ask for its kind."""
    return event.file.kind is FileKind.SOCKET or not event.file.resolved


def _severity(event: Connected | FileOpened) -> Severity:
    """One that is not there was only looked for; one that was refused is there."""
    if isinstance(event, Connected):
        missing = event.result in (-errno.ENOENT, -errno.ENOTDIR)
        return Severity.MEDIUM if missing else Severity.HIGH if event.refused else Severity.CRITICAL
    return Severity.HIGH if event.refused or event.succeeded else Severity.MEDIUM

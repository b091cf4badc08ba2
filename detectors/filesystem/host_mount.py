"""Use of a host directory that a container should not have been given."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, FileLinked, FileOpened, ModeChanged, NodeMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.host_paths import gives_control, is_dangerous
from detectors.filesystem.paths import location, plain

HOST_MOUNT = Rule(
    id="host-mount",
    title="File of the host used through a mount",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1611", "T1005"),
    why="The container was given a directory that is the host's system: its files are the host's, and "
    "what is written there is on the host.",
    remedy="Mount only the data that the workload needs, read-only where it can be; never /, /etc, /root, "
    "/var, /proc, /sys, /dev or the engine's own directories.",
)

Touching = FileOpened | ModeChanged | FileLinked | NodeMade


class HostMount(Detector):
    """Once a mount and kind of use: what was given away counts, not each file."""

    rules = (HOST_MOUNT,)
    events = (FileOpened, ModeChanged, FileLinked, NodeMade)
    syscalls = frozenset(
        {"chmod", "fchmod", "fchmodat", "fchmodat2", "symlink", "symlinkat", "link", "linkat"}
    )

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, Touching) or not (event.succeeded or event.refused):
            return
        path = _path(event)
        mount = sandbox.mount_of(path) if path.startswith("/") else None
        if mount is None or not mount.source or not is_dangerous(mount.source, sandbox):
            return
        severity = _severity(event, sandbox.host_path(path) or "")
        yield finding(
            HOST_MOUNT,
            event,
            severity=severity,
            identifier=clip(f"{mount.target}:{severity.value}"),
            path=clip(path),
            on_host=clip(sandbox.host_path(path) or ""),
            source=clip(mount.source),
            syscall=event.syscall,
            result=event.result,
        )


def _path(event: Touching) -> str:
    return plain(event.link) if isinstance(event, FileLinked) else location(event.file)


def _severity(event: Touching, host_path: str) -> Severity:
    if not event.succeeded:
        return Severity.MEDIUM
    writes = event.write if isinstance(event, FileOpened) else True
    return Severity.CRITICAL if writes or gives_control(host_path) else Severity.HIGH

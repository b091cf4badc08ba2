"""Getting at the container runtime's own program while it is inside (CVE-2019-5736)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, File, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import below, location

RUNTIME_OVERWRITE = Rule(
    id="runtime-overwrite",
    title="Program of the container runtime opened from inside",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1554"),
    why="While the runtime enters a container its program is reachable by /proc/PID/exe. Overwritten, it "
    "runs the attacker's code as root on the host at the next start (CVE-2019-5736).",
    remedy="Stop the sandbox, compare the runtime's program with its package, and update it.",
)

RUNTIMES = frozenset(
    {
        *("runc", "crun", "youki", "runsc", "kata-runtime", "docker-runc", "docker-init", "conmon", "tini"),
        *("dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v1", "containerd-shim-runc-v2"),
    }
)
PROGRAM = re.compile(r"/proc/(?:self|thread-self|\d+)/(?:task/\d+/)?exe\Z")
SEALED_COPY = re.compile(r"/memfd:(?:runc|crun)")


class RuntimeOverwrite(Detector):
    """A running program cannot be opened for writing (ETXTBSY), so that an exploit tries again and again."""

    rules = (RUNTIME_OVERWRITE,)
    events = (FileOpened,)
    names = RUNTIMES | {"exe"}

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened):
            return
        at_program = not event.file.resolved and PROGRAM.search(location(event.file)) is not None
        if _is_runtime(event, sandbox) or (at_program and event.write):
            worst = event.write and event.succeeded
            yield finding(
                RUNTIME_OVERWRITE,
                event,
                severity=None if worst else Severity.HIGH,
                identifier="write" if event.write else "read",
                path=clip(event.file.path),
                write=event.write,
                result=event.result,
            )


def _is_runtime(event: FileOpened, sandbox: Expectation) -> bool:
    """The host's, that is: a container may well have one of its own."""
    file = event.file
    if SEALED_COPY.match(file.path):
        return True
    named = file.resolved and posixpath.basename(file.path) in RUNTIMES
    return named and (event.foreign_mount or event.outside_root or _is_of_host(file, sandbox))


def _is_of_host(file: File, sandbox: Expectation) -> bool:
    path = sandbox.host_path(location(file))
    return path is not None and below(path, "/usr", "/bin", "/sbin", "/opt")

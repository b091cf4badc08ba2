"""Symbolic links that lead whoever follows them from outside, such as a collector of results, astray."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileLinked
from daemon.expectation import Expectation, ExpectedMount
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.host_paths import is_secret
from detectors.filesystem.paths import PATH_LIMIT, below, plain, tidy
from detectors.filesystem.sockets import is_engine

SYMLINK_PLANT = Rule(
    id="symlink-plant",
    title="Symbolic link out of the sandbox's reach planted",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611", "T1547.009"),
    why="A link is followed by who opens it, where that one is. On a volume, or in files that are copied "
    "out, it makes a program of the host read or write the host's own file (CVE-2018-15664).",
    remedy="Do not follow links when collecting results (O_NOFOLLOW, openat2 with RESOLVE_IN_ROOT), and "
    "mount volumes nosymfollow.",
)

THROUGH_A_PROCESS = re.compile(
    r"/proc/(?:self|thread-self|\d+)/(?:task/\d+/)?(?:root|cwd|exe|ns|map_files|fd/\d+/)"
)
DOTS = re.compile(r"/(?:\.?/)+")
ORDINARY_TARGETS = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/proc/self/fd", "/proc/mounts"),
    *("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd"),
)
"""Of virtual environments, package managers and images; on the host they lead to nothing of worth."""
MANY_STEPS_UP = 8
"""Where the link's own folder is not known."""


class SymlinkPlant(Detector):
    rules = (SYMLINK_PLANT,)
    events = (FileLinked,)
    syscalls = frozenset({"symlink", "symlinkat"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileLinked) or not event.symbolic or not event.target:
            return
        if danger := _danger(event, sandbox):
            yield finding(
                SYMLINK_PLANT,
                event,
                identifier=danger,
                target=clip(event.target),
                link=clip(event.link),
                danger=danger,
                result=event.result,
            )


def _danger(event: FileLinked, sandbox: Expectation) -> str:
    target = event.target[:PATH_LIMIT]
    if THROUGH_A_PROCESS.match(DOTS.sub("/", target)):  # ".." after a link is not the folder before it
        return "through a process"
    if is_secret(plain(target)) or is_engine(plain(target)):
        return "to a secret"
    link = plain(event.link)
    volumes = _volumes(link, sandbox)
    if target.startswith("/"):
        ordinary = (*(volume.target for volume in volumes), *ORDINARY_TARGETS)
        return "out of the volume" if volumes and not below(plain(target), *ordinary) else ""
    return _climbing(target, link, volumes)


def _climbing(target: str, link: str, volumes: list[ExpectedMount]) -> str:
    steps_up = posixpath.normpath(target).split("/").count("..")
    folder = posixpath.dirname(link)
    if not link.startswith("/"):
        return "above the root" if steps_up >= MANY_STEPS_UP else ""
    if steps_up > len([part for part in folder.split("/") if part]):
        return "above the root"
    meant = tidy(f"{folder}/{target}")
    inside = all(below(meant, volume.target, *ORDINARY_TARGETS) for volume in volumes)
    return "" if inside else "out of the volume"


def _volumes(link: str, sandbox: Expectation) -> list[ExpectedMount]:
    """That others see too: the one of the link, or any where only a relative name of the link is known."""
    mounts = [sandbox.mount_of(link)] if link.startswith("/") else sandbox.mounts
    return [mount for mount in mounts if mount is not None and mount.source and not mount.read_only]

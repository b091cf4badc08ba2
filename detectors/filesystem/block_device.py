"""Raw disks: opening a block device."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from daemon.events import Event, FileKind, FileOpened, NodeMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.bounded import Bounded, PerSandbox
from detectors.evidence import clip
from detectors.filesystem.capabilities import CAP_SYS_ADMIN
from detectors.filesystem.devices import device_name
from detectors.filesystem.paths import location, on_host

RAW_DISK = Rule(
    id="raw-disk",
    title="Raw disk opened",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1006"),
    why="Below the file system there are no permissions: whoever reads the disk reads every file of the "
    "host, whoever writes it owns the host.",
    remedy="Stop the sandbox; if the disk was opened, treat the host's files as read. No privileged "
    "container, no disk as --device, drop CAP_MKNOD.",
)

DISK = re.compile(r"/dev/(?:[shv]d[a-z]|xvd[a-z]|nvme\d|mmcblk\d|dm-\d|md\d|nbd\d|zd\d|sr\d|mapper/.|disk/)")
NODES = 64


class BlockDevice(Detector):
    """A node that the sandbox made is remembered: where its open is refused, no file tells what it was."""

    rules = (RAW_DISK,)
    events = (FileOpened, NodeMade)
    syscalls = frozenset({"mknod", "mknodat"})
    names = frozenset(
        {"sda", "sda1", "vda", "vda1", "xvda", "xvda1", "nvme0n1", "nvme0n1p1", "mmcblk0", "dm-0"}
    )

    def __init__(self) -> None:
        self._nodes: PerSandbox[Bounded[str, str]] = PerSandbox(lambda: Bounded(NODES))

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, NodeMade) and event.succeeded and event.file.kind is FileKind.BLOCK:
            name = posixpath.basename(location(event.file))
            self._nodes.of(event.sandbox)[name] = device_name(event.file)
        elif isinstance(event, FileOpened) and (severity := self._severity(event, sandbox)):
            node = device_name(event.file) or self._made(event)
            yield finding(
                RAW_DISK,
                event,
                severity=severity,
                identifier=node.partition(":")[0] or "by path",
                path=clip(event.file.path),
                node=node,
                result=event.result,
                write=event.write,
            )

    def _severity(self, event: FileOpened, sandbox: Expectation) -> Severity | None:
        file = event.file
        if file.kind is FileKind.BLOCK:
            given = file.node_device in sandbox.devices and not sandbox.has(CAP_SYS_ADMIN)
            return Severity.MEDIUM if given else Severity.CRITICAL
        if file.resolved:
            return None
        if event.refused and self._made(event):
            return Severity.CRITICAL
        if DISK.match(on_host(file, sandbox)):
            return Severity.HIGH if event.refused else Severity.MEDIUM
        return None

    def _made(self, event: FileOpened) -> str:
        """By the last component: the same node can be spelled in many ways."""
        name = posixpath.basename(location(event.file))
        return "" if event.file.resolved else self._nodes.of(event.sandbox).get(name, "")

    def forget(self, sandbox: str) -> None:
        self._nodes.forget(sandbox)

"""mknod(2) of device nodes."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, File, FileKind, NodeMade
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip
from detectors.filesystem.capabilities import CAP_SYS_ADMIN
from detectors.filesystem.devices import MEMORY, device_name, is_harmless

BLOCK_DEVICE_NODE = Rule(
    id="block-device-node",
    title="Node of a disk made",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1611",),
    why="A node with a disk's number is that disk, wherever it lies: the step before reading the host's "
    "files from it or mounting it. Only the devices cgroup is still in the way.",
    remedy="Stop the sandbox. Drop CAP_MKNOD, mount writable places nodev.",
)
DEVICE_NODE = Rule(
    id="device-node",
    title="Node of a device made",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611",),
    why="Nodes other than null, zero, random and terminals are doors to drivers that the sandbox was not "
    "given.",
    remedy="Drop CAP_MKNOD, mount writable places nodev, and give devices by --device.",
)


class DeviceNodes(Detector):
    rules = (BLOCK_DEVICE_NODE, DEVICE_NODE)
    events = (NodeMade,)
    syscalls = frozenset({"mknod", "mknodat"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if isinstance(event, NodeMade) and (judged := _judge(event.file, sandbox)):
            rule, success, failure = judged
            node = device_name(event.file)
            yield attempt(
                rule,
                event,
                severity=success,
                otherwise=failure,
                identifier=node.partition(":")[0],
                path=clip(event.file.path),
                node=node,
            )


def _judge(file: File, sandbox: Expectation) -> tuple[Rule, Severity, Severity] | None:
    """Rule, severity of success, severity of failure."""
    if file.kind is FileKind.BLOCK:
        mighty = sandbox.has(CAP_SYS_ADMIN)
        return BLOCK_DEVICE_NODE, Severity.CRITICAL if mighty else Severity.HIGH, Severity.HIGH
    if file.kind is FileKind.CHARACTER and not is_harmless(file.node_device):
        memory = file.node_device in MEMORY
        return DEVICE_NODE, Severity.HIGH if memory else Severity.MEDIUM, Severity.MEDIUM
    return None

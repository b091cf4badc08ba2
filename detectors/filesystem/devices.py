"""Device nodes: opening one that the sandbox was not given."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.events import Event, File, FileKind, FileOpened
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity
from detectors import Detector
from detectors.evidence import attempt, clip

UNEXPECTED_DEVICE = Rule(
    id="unexpected-device",
    title="Device that the sandbox was not given opened",
    category=Category.FILESYSTEM,
    severity=Severity.MEDIUM,
    techniques=("T1611",),
    why="Drivers are the largest part of the kernel that a workload can talk to, and devices are the host's.",
    remedy="Give a container the devices that it needs by name (--device), never all of them (--privileged).",
)


def number(major: int, minor: int) -> int:
    """A dev_t as events carry it."""
    return major << 20 | minor


# Documentation/admin-guide/devices.txt of the kernel
MEMORY = frozenset({number(1, 1), number(1, 2), number(1, 4)})
"""mem, kmem, port."""
HARMLESS = frozenset(
    {
        *(number(1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
        *(number(5, minor) for minor in (0, 1, 2)),  # tty, console, ptmx
        number(0, 0),  # an overlay's whiteout
    }
)
TERMINALS = range(136, 144)
KERNEL_LOG = number(1, 11)
MODEL_REGISTERS = 202
"""Major of /dev/cpu/N/msr."""
CLAIMED = MEMORY | {KERNEL_LOG}


class Devices(Detector):
    rules = (UNEXPECTED_DEVICE,)
    events = (FileOpened,)

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, FileOpened) or event.file.kind is not FileKind.CHARACTER:
            return
        device = event.file.node_device
        if not is_harmless(device) and device not in CLAIMED and device not in sandbox.devices:
            yield attempt(
                UNEXPECTED_DEVICE,
                event,
                severity=Severity.CRITICAL if device >> 20 == MODEL_REGISTERS else None,
                otherwise=Severity.LOW,
                identifier=device_name(event.file).partition(":")[0],
                path=clip(event.file.path),
                node=device_name(event.file),
            )


def is_harmless(device: int) -> bool:
    return device in HARMLESS or device >> 20 in TERMINALS


def device_name(file: File) -> str:
    """ "b 8:0", as `ls -l` and mknod(1) have it; "" for what is no device."""
    if file.kind not in (FileKind.BLOCK, FileKind.CHARACTER):
        return ""
    return f"{file.kind.value[0]} {file.node_device >> 20}:{file.node_device & 0xFFFFF}"

"""Sockets of the host's own services that a container was given: its init, its bus, its hypervisor."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.events import Connected, Event
from daemon.expectation import Expectation
from daemon.findings import Category, Finding, Rule, Severity, finding
from detectors import Detector
from detectors.evidence import clip
from detectors.filesystem.paths import plain
from detectors.network.outward import is_under_way

HOST_SOCKET = Rule(
    id="host-control-socket",
    title="Socket of a service that controls the host used",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611", "T1543.002"),
    why="By the system bus or systemd's own socket root of a container starts any program as root on the "
    "host; libvirt and snapd are no better.",
    remedy="Stop the sandbox. Do not mount /run, or these sockets, into containers.",
)

AF_UNIX = 1
CONTROLS = re.compile(
    r"(?:/var)?/run/(?:dbus/system_bus_socket|systemd/private|systemd/io\.\S+|snapd\S*\.socket|udev/control"
    r"|libvirt/\S+-sock|multipathd\.socket|lvm/\S+)\Z"
)


class HostSocket(Detector):
    """A container may well run a bus of its own: the host's is bound outside, or reached by a mount."""

    rules = (HOST_SOCKET,)
    events = (Connected,)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, Connected) or event.family != AF_UNIX:
            return
        host_path = next(filter(CONTROLS.match, _on_host(event, sandbox)), None)
        if host_path is not None and (is_under_way(event) or event.refused):
            yield finding(
                HOST_SOCKET,
                event,
                severity=Severity.HIGH if event.refused else None,
                identifier=clip(host_path),
                socket=clip(event.path),
                on_host=clip(host_path),
                result=event.result,
            )


def _on_host(event: Connected, sandbox: Expectation) -> Iterator[str]:
    """Where it is bound, if that is known, says more than the name that was passed."""
    if event.file is not None and event.foreign_mount:
        yield event.file.path
    yield sandbox.host_path(plain(event.path)) or ""

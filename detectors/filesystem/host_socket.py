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
    """Only by a mount is it the host's: a container may well run a bus of its own."""

    rules = (HOST_SOCKET,)
    events = (Connected,)
    syscalls = frozenset({"connect"})

    def detect(self, event: Event, sandbox: Expectation) -> Iterator[Finding]:
        if not isinstance(event, Connected) or event.family != AF_UNIX or not event.path.startswith("/"):
            return
        reached = event.file.path if event.file is not None else plain(event.path)
        host_path = sandbox.host_path(reached) or sandbox.host_path(plain(event.path)) or ""
        if CONTROLS.match(host_path) and (event.succeeded or event.refused):
            yield finding(
                HOST_SOCKET,
                event,
                severity=None if event.succeeded else Severity.HIGH,
                identifier=clip(host_path),
                socket=clip(event.path),
                on_host=clip(host_path),
                result=event.result,
            )

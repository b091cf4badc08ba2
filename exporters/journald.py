"""The journal, by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import ExportError
from daemon.findings import Severity
from exporters import Kind, Options, Surroundings
from exporters.datagrams import send_each

MESSAGE_IDS = {
    event_type: uuid.uuid5(uuid.NAMESPACE_URL, f"container-kit:{event_type}").hex for event_type in EventType
}
"""One a type, the same on every host: `journalctl MESSAGE_ID=...` finds them."""
PRIORITIES = {Severity.LOW: 6, Severity.MEDIUM: 5, Severity.HIGH: 3, Severity.CRITICAL: 2}
SEND_DEADLINE_S = 20.0


class JournalReceiver(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Path = Path("/run/systemd/journal/socket")


class JournaldOptions(Options, JournalReceiver):
    pass


class Journald:
    """Acknowledged is what the journal's socket took; pid 1 holds it, so it outlives a journald that dies."""

    def __init__(self, options: JournaldOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        await send(self._options.socket, [entry(_fields(event, self._encode(event))) for event in batch])

    async def close(self) -> None:
        """Nothing is open between two batches."""


async def send(path: Path, entries: Sequence[bytes]) -> None:
    """Raises ExportError."""
    try:
        await asyncio.to_thread(_send, path, entries)
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror or error}") from error


def _send(path: Path, entries: Sequence[bytes]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.settimeout(SEND_DEADLINE_S)
        journal.connect(str(path))
        send_each(journal, entries, partial(_send_one, journal))


def _send_one(journal: socket.socket, datagram: bytes) -> None:
    try:
        journal.send(datagram)
    except OSError as error:
        if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
            raise
        _send_by_memfd(journal, datagram)


def _send_by_memfd(journal: socket.socket, datagram: bytes) -> None:
    """What is too large for a datagram goes as a sealed file (memfd_create(2)) that is passed along."""
    memory = os.memfd_create("container-kit-event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(memory, "wb") as file:
        file.write(datagram)
        file.flush()
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
        journal.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))])


def entry(fields: Iterable[tuple[str, bytes]]) -> bytes:
    return b"".join(_field(name, value) for name, value in fields)


def _fields(event: SecurityAuditEvent, record: bytes) -> Iterator[tuple[str, bytes]]:
    yield "MESSAGE", record
    yield "MESSAGE_ID", MESSAGE_IDS[event.event_type].encode()
    yield "PRIORITY", str(PRIORITIES[event.severity]).encode()
    yield "SYSLOG_IDENTIFIER", b"container-kitd-audit"
    named = {
        "EVENT_ID": event.id,
        "SEQ": event.seq,
        "EVENT_TYPE": event.event_type,
        "SEVERITY": event.severity,
        "ACTION": event.action,
        "SESSION_ID": event.session_id,
        "SANDBOX_ID": event.sandbox_id,
    }
    for name, value in named.items():
        if value is not None:
            yield f"CONTAINER_KIT_{name}", str(value).encode("utf-8", "replace")


def _field(name: str, value: bytes) -> bytes:
    """Always with its length, so that a line break in a value begins no field."""
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


JOURNALD = Kind(JournaldOptions, Journald)

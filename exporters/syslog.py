"""Syslog: RFC 5424 over a Unix socket, UDP (RFC 5426), TCP (RFC 6587, octet-counted) and TLS (RFC 5425)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from daemon.findings import Severity
from exporters import Exporter, Kind, Options, Surroundings
from exporters.cutting import fitting
from exporters.datagrams import send_each
from exporters.reason import reason
from exporters.tls import Tls, context

FACILITY_LOG_AUDIT = 13
SEVERITIES = {Severity.LOW: 6, Severity.MEDIUM: 5, Severity.HIGH: 3, Severity.CRITICAL: 2}
COMPLETE = "rfc5424"
"""The format that is a syslog message already; the others are put into one."""
CLOSED_SOON_S = 0.3
ACKNOWLEDGED_POLL_S = 0.005
SEND_DEADLINE_S = 20.0
UDP_BYTES = 65_507
"""The most that a datagram carries over IPv4 (udp(7))."""


class SyslogOptions(Options):
    acknowledged: ClassVar[bool] = False

    transport: Literal["unix", "udp", "tcp", "tls"] = "unix"
    path: Path = Path("/dev/log")
    """Of transport unix."""
    host: str = ""
    port: int = Field(default=514, ge=1, le=65535)
    tls: Tls = Tls()
    maximum_bytes: int = Field(default=8192, ge=1024, le=1 << 20)
    """What the receiver takes (rsyslog: 8k): a longer record goes without its details, with their hash."""
    resend_events: int = Field(default=2000, ge=0, le=10_000)

    @model_validator(mode="after")
    def _somewhere(self) -> SyslogOptions:
        if self.transport != "unix" and not self.host:
            raise ValueError(f"host: transport {self.transport} needs one")
        return self


class _Messages:
    def __init__(self, options: SyslogOptions, surroundings: Surroundings) -> None:
        self._options, self._surroundings = options, surroundings
        self._limit_bytes = options.maximum_bytes
        if options.transport == "udp":
            self._limit_bytes = min(self._limit_bytes, UDP_BYTES)

    def of(self, batch: Sequence[SecurityAuditEvent]) -> list[bytes]:
        return [fitting(event, self._message, self._limit_bytes) for event in batch]

    def _message(self, event: SecurityAuditEvent) -> bytes:
        record = self._surroundings.encode(event)
        if self._options.format == COMPLETE:
            return record
        return _header(event, self._surroundings.hostname) + record


def _header(event: SecurityAuditEvent, hostname: str) -> bytes:
    priority = FACILITY_LOG_AUDIT * 8 + SEVERITIES[event.severity]
    when = event.timestamp.isoformat(timespec="microseconds")
    host = "".join(c for c in hostname if 33 <= ord(c) <= 126)[:255] or "-"
    return f"<{priority}>1 {when} {host} container-kitd - {event.event_type[:32]} - ".encode()


class Datagrams:
    """One datagram a message. UDP tells nobody what was lost; a Unix socket says when nobody listens."""

    def __init__(self, options: SyslogOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._messages = _Messages(options, surroundings)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        messages = self._messages.of(batch)
        try:
            await asyncio.to_thread(self._send, messages)
        except OSError as error:
            too_large = error.errno == errno.EMSGSIZE  # for a Unix socket's buffer: it never will be smaller
            told = f"{_place(self._options)}: {error.strerror or error}"
            raise ExportError(told, retryable=not too_large) from error

    def _send(self, messages: Sequence[bytes]) -> None:
        with self._socket() as outlet:
            send_each(outlet, messages, outlet.send)

    def _socket(self) -> socket.socket:
        if self._options.transport == "unix":
            outlet, address = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), str(self._options.path)
            target: Any = address
        else:
            found = socket.getaddrinfo(self._options.host, self._options.port, type=socket.SOCK_DGRAM)[0]
            outlet, target = socket.socket(found[0], socket.SOCK_DGRAM), found[4]
        outlet.settimeout(SEND_DEADLINE_S)
        try:
            outlet.connect(target)
        except OSError:
            outlet.close()
            raise
        return outlet

    async def close(self) -> None:
        """Nothing is open between two batches."""


class Stream:
    """No acknowledgement, so a batch counts as taken once the receiver's kernel has it and nobody hung up.

    What the receiver had not read by then is lost with its connection; the caller sends the last
    `resend_events` again.
    """

    def __init__(self, options: SyslogOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._messages = _Messages(options, surroundings)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        data = b"".join(b"%d %s" % (len(message), message) for message in self._messages.of(batch))
        try:
            await self._send(data)
        except (OSError, EOFError) as error:
            await self.close()
            raise ExportError(f"{_place(self._options)}: {reason(error)}") from error
        except asyncio.CancelledError:
            await self.close()  # half a batch may be on its way
            raise

    async def _send(self, data: bytes) -> None:
        reader, writer = self._streams = self._streams or await self._connect()
        await _still_open(reader)
        writer.write(data)
        async with asyncio.timeout(SEND_DEADLINE_S):
            for _ in range(2):  # of TLS, the last bytes may have come to the kernel only meanwhile
                while _unacknowledged_bytes(writer):
                    await asyncio.sleep(ACKNOWLEDGED_POLL_S)
                    await _still_open(reader)
                await _still_open(reader)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(SEND_DEADLINE_S):
            reader, writer = await self._open()
        self._streams = reader, writer
        await _not_turned_away(reader)
        return reader, writer

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._options.host, self._options.port
        if self._options.transport == "tcp":
            return await asyncio.open_connection(*address)
        secure, name = context(self._options.tls), self._options.tls.server_name or self._options.host
        try:
            return await asyncio.open_connection(*address, ssl=secure, server_hostname=name)
        except ConnectionResetError as error:
            raise EOFError(
                "the receiver ended the handshake: has it TLS 1.2 or newer, does it accept our certificate?"
            ) from error

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams:
            streams[1].transport.abort()
            await asyncio.sleep(0)


def _unacknowledged_bytes(writer: asyncio.StreamWriter) -> int:
    """What we still hold, and what the other host has not confirmed yet (SIOCOUTQ, tcp(7))."""
    if writer.transport.is_closing():
        raise EOFError("the connection broke")
    outlet = writer.get_extra_info("socket")
    sent = int.from_bytes(fcntl.ioctl(outlet.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return writer.transport.get_write_buffer_size() + sent


async def _still_open(reader: asyncio.StreamReader) -> None:
    for _ in range(2):  # rounds of the loop: one to hear of a hang-up, one to take note of it
        await asyncio.sleep(0)
    if (error := reader.exception()) is not None:
        raise OSError(f"the connection broke: {error}")
    if reader.at_eof():
        raise EOFError("the receiver closed the connection")


async def _not_turned_away(reader: asyncio.StreamReader) -> None:
    """With TLS 1.3 a receiver refuses a client's certificate only after the client thinks all is well."""
    try:
        async with asyncio.timeout(CLOSED_SOON_S):
            if not await reader.read(1):
                raise EOFError("the receiver closed the connection at once: does it accept our certificate?")
    except TimeoutError:
        return


def _place(options: SyslogOptions) -> str:
    if options.transport == "unix":
        return os.fspath(options.path)
    return f"{options.transport} {options.host}:{options.port}"


def make(options: SyslogOptions, surroundings: Surroundings) -> Exporter:
    kind = Stream if options.transport in {"tcp", "tls"} else Datagrams
    return kind(options, surroundings)


SYSLOG = Kind(SyslogOptions, make)

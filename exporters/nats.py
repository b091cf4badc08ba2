"""NATS JetStream, with the extra `nats`. Each event carries its id as Nats-Msg-Id: the stream keeps it once.

That holds within the stream's duplicate window (two minutes unless it says otherwise). The stream must exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from yarl import URL

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ConfigError, ExportError
from exporters import Exporter, Kind, Options, Surroundings, nkey, secret
from exporters.http import LOOPBACK
from exporters.reason import reason
from exporters.tls import Tls, context

CONNECT_DEADLINE_S = 10
ACK_DEADLINE_S = 20.0
CLOSE_DEADLINE_S = 1.0
STREAM_MESSAGE_EXCEEDS_MAXIMUM = 10054
"""An error code of JetStream (errors.json of nats-server)."""


class NatsOptions(Options):
    servers: list[str] = Field(default=["nats://127.0.0.1:4222"], min_length=1)
    """nats:// or tls://."""
    subject: str = Field(default="audit", pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
    """An event goes to SUBJECT.TYPE."""
    token: secret.SecretReference | None = None
    credentials_file: Path | None = None
    """A user's JWT and nkey, as `nsc` writes them; not readable by others."""
    tls: Tls | None = None

    @field_validator("servers")
    @classmethod
    def _without_secrets(cls, servers: list[str]) -> list[str]:
        if any("@" in server for server in servers):
            raise ValueError("no user or password in a URL: it is shown; give the secret by its file")
        return servers

    @model_validator(mode="after")
    def _nothing_in_clear(self) -> NatsOptions:
        if self.token and self.tls is None and not all(map(_is_safe, self.servers)):
            raise ValueError("servers: a token would go over the net in clear: use tls:// or add a tls table")
        return self


def _is_safe(server: str) -> bool:
    url = URL(server if "://" in server else f"nats://{server}")
    return url.scheme == "tls" or url.host in LOOPBACK


class Nats:
    """A batch is taken when the stream acknowledged every event of it."""

    def __init__(self, options: NatsOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode
        self._client: Any = None
        self._acks: list[asyncio.Future[Any]] = []

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        from nats.errors import Error

        try:
            self._client = self._client or await self._connect()
            await self._publish(batch)
        except (TimeoutError, Error, OSError) as error:
            await self.close()
            raise ExportError(reason(error), retryable=not _is_about_the_event(error)) from error

    async def _publish(self, batch: Sequence[SecurityAuditEvent]) -> None:
        stream = self._client.jetstream(timeout=ACK_DEADLINE_S, publish_async_max_pending=len(batch) + 1)
        self._acks = []
        for event in batch:
            self._acks.append(await self._send(stream, event))
        async with asyncio.timeout(ACK_DEADLINE_S):
            for ack in self._acks:
                await ack

    async def _closed(self) -> None:
        """Nobody will answer what was sent on this connection."""
        self._fail(ConnectionError("the connection was closed"))

    async def _told(self, error: Exception) -> None:
        """What a stream refuses the library tells here alone, and not of which event: so of all that wait.

        Other errors the publisher hears of as well.
        """
        from nats.js.errors import APIError

        if isinstance(error, APIError):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        for ack in self._acks:
            if not ack.done():
                ack.set_exception(error)
                ack.exception()  # taken note of: only the first one is waited for

    async def _send(self, stream: Any, event: SecurityAuditEvent) -> asyncio.Future[Any]:
        subject = f"{self._options.subject}.{event.event_type}"
        headers = {"Nats-Msg-Id": event.id}
        ack: asyncio.Future[Any] = await stream.publish_async(
            subject, self._encode(event), headers=headers, wait_stall=ACK_DEADLINE_S
        )
        return ack

    async def _connect(self) -> Any:
        """The client must not reconnect by itself: our caller tries again, from the last acknowledgement."""
        from exporters.nats_client import SafeClient

        options = self._options
        extra: dict[str, Any] = {}
        if options.token:
            extra["token"] = secret.read(options.token)
        if options.credentials_file:
            credentials = nkey.read(options.credentials_file)
            extra["user_jwt_cb"], extra["signature_cb"] = credentials.jwt.encode, credentials.sign
        if options.tls:
            extra["tls"], extra["tls_hostname"] = context(options.tls), options.tls.server_name
        client = SafeClient(encrypted=options.tls is not None)
        try:
            await client.connect(
                options.servers,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_DEADLINE_S,
                error_cb=self._told,
                closed_cb=self._closed,
                **extra,
            )
        except BaseException:  # also where our caller's patience ends: the library leaves its socket open
            await _end(client)
            raise
        return client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client:
            await _end(client)


async def _end(client: Any) -> None:
    """After a failed handshake the library waits for ever for its socket, which it has closed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await client.close()


def _is_about_the_event(error: Exception) -> bool:
    """Too large for the server, or for the stream: it will never be taken."""
    from nats.errors import MaxPayloadError

    return (
        isinstance(error, MaxPayloadError)
        or getattr(error, "err_code", None) == STREAM_MESSAGE_EXCEEDS_MAXIMUM
    )


def make(options: NatsOptions, surroundings: Surroundings) -> Exporter:
    """Raises ConfigError."""
    if find_spec("nats") is None:
        raise ConfigError("kind: nats needs more: pip install 'container-kit[nats]'")
    return Nats(options, surroundings)


NATS = Kind(NatsOptions, make)

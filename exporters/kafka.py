"""Kafka, with the extra `kafka`. The key is the session: its events stay in order in one partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field, model_validator

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ConfigError, ExportError
from exporters import Exporter, Kind, Options, Surroundings, secret
from exporters.tls import Tls, context

ABOUT_THE_EVENT = frozenset({"MessageSizeTooLargeError", "InvalidRecordError", "CorruptRecordException"})


class KafkaOptions(Options):
    servers: list[str] = Field(min_length=1)
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    tls: Tls | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: secret.SecretReference | None = None

    @model_validator(mode="after")
    def _whole(self) -> KafkaOptions:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: give both or none")
        if self.password and self.tls is None:
            raise ValueError("tls: a password would go over the net in clear: add a tls table")
        return self


class Kafka:
    """Acknowledged by all in-sync replicas; the header `id` tells an event that came twice."""

    def __init__(self, options: KafkaOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode
        self._producer: Any = None

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        from aiokafka.errors import KafkaError

        try:
            if self._producer is None:
                self._producer = await self._start()
            acks = [await self._send(event) for event in batch]
            for ack in acks:
                await ack
        except (TimeoutError, KafkaError, OSError) as error:
            await self.close()
            reason = type(error).__name__
            raise ExportError(f"{reason}: {error}", retryable=reason not in ABOUT_THE_EVENT) from error

    async def _send(self, event: SecurityAuditEvent) -> asyncio.Future[Any]:
        ack: asyncio.Future[Any] = await self._producer.send(
            self._options.topic,
            self._encode(event),
            key=event.session_id.encode(),
            timestamp_ms=int(event.timestamp.timestamp() * 1000),
            headers=[("id", event.id.encode()), ("type", event.event_type.encode())],
        )
        return ack

    async def _start(self) -> Any:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            bootstrap_servers=self._options.servers, acks="all", enable_idempotence=True, **self._security()
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    def _security(self) -> dict[str, Any]:
        options = self._options
        security: dict[str, Any] = {}
        if options.tls:
            security = {"security_protocol": "SSL", "ssl_context": context(options.tls)}
        if options.password:
            security |= {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": options.mechanism,
                "sasl_plain_username": options.user,
                "sasl_plain_password": secret.read(options.password),
            }
        return security

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()


def make(options: KafkaOptions, surroundings: Surroundings) -> Exporter:
    """Raises ConfigError."""
    if find_spec("aiokafka") is None:
        raise ConfigError("kind: kafka needs more: pip install 'container-kit[kafka]'")
    return Kafka(options, surroundings)


KAFKA = Kind(KafkaOptions, make)

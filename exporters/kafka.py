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
from exporters.reason import reason
from exporters.tls import Tls, context

ABOUT_THE_EVENT = frozenset(
    {
        "MessageSizeTooLargeError",
        "RecordListTooLargeError",
        "InvalidTimestampError",
        "CorruptRecordException",
    }
)
"""Names of aiokafka.errors. INVALID_RECORD, which only a broker's plug-in would say, has none there."""
GIVEN_UP_S = 10
"""What the broker has not acknowledged by then comes again, from our caller."""
REPEATED_AFTER_MS = 500


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
        if self.tls and self.tls.server_name:
            raise ValueError("tls.server_name: each broker of a cluster has its own name: leave it out")
        return self


class Kafka:
    """Acknowledged by all in-sync replicas; the header `id` tells an event that came twice."""

    def __init__(self, options: KafkaOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode
        self._producer: Any = None

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        from aiokafka.errors import KafkaError

        records = [self._encode(event) for event in batch]
        try:
            self._producer = self._producer or await self._start()
            await self._produce(batch, records)
        except (TimeoutError, KafkaError, OSError) as error:
            await self.close()
            told = f"{type(error).__name__}: {reason(error)}"
            raise ExportError(told, retryable=not _is_about_the_event(error)) from error

    async def _produce(self, batch: Sequence[SecurityAuditEvent], records: Sequence[bytes]) -> None:
        """An error that may pass later decides over a refusal."""
        acks = [await self._send(event, record) for event, record in zip(batch, records, strict=True)]
        results = await asyncio.gather(*acks, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise min(errors, key=_is_about_the_event)

    async def _send(self, event: SecurityAuditEvent, record: bytes) -> asyncio.Future[Any]:
        ack: asyncio.Future[Any] = await self._producer.send(
            self._options.topic,
            record,
            key=event.session_id.encode(errors="backslashreplace"),
            timestamp_ms=int(event.timestamp.timestamp() * 1000),
            headers=[("id", event.id.encode()), ("type", event.event_type.encode())],
        )
        ack.add_done_callback(_noted)
        return ack

    async def _start(self) -> Any:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            bootstrap_servers=self._options.servers,
            acks="all",
            # With it the library never gives up, and cannot be stopped while its broker is gone.
            enable_idempotence=False,
            request_timeout_ms=GIVEN_UP_S * 1000,
            retry_backoff_ms=REPEATED_AFTER_MS,
            **self._security(),
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
        """Waits until nothing is under way, `GIVEN_UP_S` at most."""
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()


def _is_about_the_event(error: BaseException) -> bool:
    return type(error).__name__ in ABOUT_THE_EVENT


def _noted(ack: asyncio.Future[Any]) -> None:
    """Only the first error is told; asyncio would complain about the others."""
    if not ack.cancelled():
        ack.exception()


def make(options: KafkaOptions, surroundings: Surroundings) -> Exporter:
    """Raises ConfigError."""
    if find_spec("aiokafka") is None:
        raise ConfigError("kind: kafka needs more: pip install 'container-kit[kafka]'")
    return Kafka(options, surroundings)


KAFKA = Kind(KafkaOptions, make)

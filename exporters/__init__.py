"""Exporters: each takes audit events in order and sees that a receiver has them.

One file a kind; `inventory` lists them. To add one: write its options and its class, and name both there, or
in another package under the entry-point group `container_kit.exporters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity


class Exporter(Protocol):
    """Its caller keeps a durable cursor: what was not acknowledged comes again, in order.

    So a receiver may get an event twice, after a crash or a lost answer; `id` is the same both times.
    """

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        """Returns when the receiver has the whole batch. Raises ExportError.

        One whose options are not `acknowledged` gets an empty batch now and then while nothing happens: it
        raises if its receiver hung up since the last one.
        """

    async def close(self) -> None: ...


class Options(BaseModel):
    """What every exporter's table in the settings may say; a kind adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acknowledged: ClassVar[bool] = True
    """Whether the receiver says that it has a batch."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    kind: str
    format: str = "plain"
    minimum_severity: Severity = Severity.LOW
    event_types: list[EventType] = []
    """Empty for all."""
    start: str = Field(default="oldest", pattern="^(oldest|newest)$")
    """Where a new exporter begins; one that has a cursor goes on there."""
    batch_events: int = Field(default=500, ge=1, le=5000)
    batch_bytes: int = Field(default=1 << 20, ge=1024, le=16 << 20)
    """Of the events as they stand in the log; one event alone may be larger."""
    resend_events: int = Field(default=0, ge=0, le=10_000)
    """How many of the last ones are sent again after a failure: for receivers that acknowledge nothing."""
    enterprise_number: int = Field(default=32473, ge=1)
    ocsf_version: str = "1.8.0"

    def wants(self, event: SecurityAuditEvent) -> bool:
        wanted = not self.event_types or event.event_type in self.event_types
        return wanted and event.severity.at_least(self.minimum_severity)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an exporter is given besides its options."""

    encode: Callable[[SecurityAuditEvent], bytes]
    """One record in the format that the options name."""
    hostname: str
    version: str
    folder: Path
    """For what it has to keep between two runs."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`make` gets an instance of `options`. Raises ConfigError for what cannot be honoured."""

    options: type[Options]
    make: Callable[[Any, Surroundings], Exporter]

"""Exporters: each takes audit events in order and sees that a receiver has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from daemon.audit.record import SecurityAuditEvent


class Exporter(Protocol):
    """Its caller keeps a durable cursor: what was not acknowledged comes again, in order.

    So a receiver may get an event twice, after a crash or a lost answer; `id` is the same both times.
    """

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        """Returns when the receiver has the whole batch. Raises ExportError."""

    async def close(self) -> None: ...

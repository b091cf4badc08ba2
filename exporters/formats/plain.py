"""The event as it stands in the log: one line of JSON."""

from __future__ import annotations

from daemon.audit.record import SecurityAuditEvent
from exporters.formats import Emitter


def plain(event: SecurityAuditEvent, _: Emitter) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()

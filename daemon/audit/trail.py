"""The audit events of one sandbox: whose they are is said once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon import tracing
from daemon.audit.log import AuditLog
from daemon.audit.record import Actor, EventType, SecurityAuditEvent
from daemon.findings import Severity


@dataclass(frozen=True, slots=True)
class Trail:
    """`actor` is None where nobody asked: an earlier daemon's sandbox."""

    audit: AuditLog
    sandbox_id: str
    session_id: str
    actor: Actor | None = None
    trace_id: str | None = None
    image_digest: str | None = None
    profile_digest: str | None = None

    async def record(
        self, event_type: EventType, severity: Severity, action: str, details: dict[str, Any]
    ) -> None:
        """Returns when the event is durable. Raises AuditError."""
        trace_id, span_id = tracing.ids(tracing.current())
        event = SecurityAuditEvent(
            session_id=self.session_id,
            event_type=event_type,
            severity=severity,
            action=action,
            details=details,
            actor=self.actor,
            sandbox_id=self.sandbox_id,
            image_digest=self.image_digest,
            profile_digest=self.profile_digest,
            trace_id=self.trace_id,
            span_id=span_id if trace_id == self.trace_id else None,
        )
        await self.audit.record(event)

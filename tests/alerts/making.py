"""Events and rules for the tests of alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.alerts.rule import AlertRule
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def rule(**keys: Any) -> AlertRule:
    return AlertRule(**{"name": "a", "channels": ["c"], **keys})


def event(
    at_s: float = 0, sandbox: str | None = "s1", severity: Severity = Severity.HIGH, **details: Any
) -> SecurityAuditEvent:
    """`at_s` after BEGIN."""
    return SecurityAuditEvent(
        timestamp=BEGIN + timedelta(seconds=at_s),
        session_id="session",
        event_type=EventType.SECURITY_VIOLATION,
        severity=severity,
        action="alert",
        details={"rule_id": "some-rule", **details},
        sandbox_id=sandbox,
    )

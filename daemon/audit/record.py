"""SecurityAuditEvent: one fact that somebody may have to prove later."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from daemon.events import Tier
from daemon.findings import Severity


class EventType(StrEnum):
    EXECUTION_STARTED = "EXECUTION_STARTED"
    EXECUTION_FINISHED = "EXECUTION_FINISHED"
    EXECUTION_BLOCKED = "EXECUTION_BLOCKED"
    EXECUTION_FAILED = "EXECUTION_FAILED"
    RESOURCE_LIMIT_EXCEEDED = "RESOURCE_LIMIT_EXCEEDED"
    SECURITY_VIOLATION = "SECURITY_VIOLATION"
    FORENSICS_COLLECTED = "FORENSICS_COLLECTED"
    SANDBOX_ADOPTED = "SANDBOX_ADOPTED"
    SANDBOX_ACCESSED = "SANDBOX_ACCESSED"
    ACCESS_DENIED = "ACCESS_DENIED"
    DETECTOR_FAILED = "DETECTOR_FAILED"
    EXPORTER_FAILED = "EXPORTER_FAILED"
    AUDIT_CHECKPOINT = "AUDIT_CHECKPOINT"
    AUDIT_RECOVERED = "AUDIT_RECOVERED"
    AUDIT_RETIRED = "AUDIT_RETIRED"
    AUDIT_FAILED = "AUDIT_FAILED"
    DAEMON_STARTED = "DAEMON_STARTED"
    DAEMON_STOPPED = "DAEMON_STOPPED"


class Actor(BaseModel):
    """Who asked: the peer of the Unix socket as the kernel knows it (SO_PEERCRED, unix(7))."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: int
    gid: int
    pid: int


class SecurityAuditEvent(BaseModel):
    """`seq` is given by the log and rises by one an event; `id` is unique across logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int = 0
    id: str = Field(default_factory=lambda: secrets.token_hex(16))
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    session_id: str
    event_type: EventType
    severity: Severity
    action: str
    details: dict[str, Any] = Field(default_factory=dict)
    actor: Actor | None = None
    sandbox_id: str | None = None
    image_digest: str | None = None
    profile_digest: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    sensor_tier: Tier | None = None

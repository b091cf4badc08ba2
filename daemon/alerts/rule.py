"""A table of [[alerts]]: which events are worth an alert, and who is told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
SUBJECT_LIMIT = 64


class AlertRule(BaseModel):
    """All that is given must fit an event. It fires when `at_least` of them came within `within_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    channels: list[str] = Field(min_length=1, max_length=16)
    minimum_severity: Severity = Severity.HIGH
    event_types: list[EventType] = Field(default=[], description="empty for all")
    rule_ids: list[str] = Field(default=[], max_length=256, description="of detectors; empty for all")
    by: Literal["sandbox", "host"] = Field(
        default="sandbox", description="what one alert is about, and what is counted together"
    )
    at_least: int = Field(default=1, ge=1, le=1000)
    within_s: float = Field(default=60.0, gt=0, le=86_400)
    quiet_s: float = Field(
        default=300.0, gt=0, le=86_400, description="resolved when it has not held for so long"
    )
    repeat_s: float = Field(
        default=3600.0,
        ge=1,
        le=7 * 86_400,
        description="while events keep coming, told again that often",
    )

    @model_validator(mode="after")
    def _can_fire(self) -> Self:
        if self.rule_ids and self.event_types and EventType.SECURITY_VIOLATION not in self.event_types:
            raise ValueError("rule_ids are of SECURITY_VIOLATION alone: add it to event_types")
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("channels: name each once")
        return self

    def wants(self, event: SecurityAuditEvent) -> bool:
        return (
            event.severity.at_least(self.minimum_severity)
            and (not self.event_types or event.event_type in self.event_types)
            and (not self.rule_ids or event.details.get("rule_id") in self.rule_ids)
        )

    def subject(self, event: SecurityAuditEvent) -> str:
        """The sandbox, or the container of somebody else; "" for the host."""
        if self.by == "host":
            return ""
        return str(event.sandbox_id or event.details.get("container_id") or "")[:SUBJECT_LIMIT]

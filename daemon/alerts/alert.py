"""An alert while it fires, and what a channel is told of it."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict

from daemon.audit.record import SecurityAuditEvent
from daemon.findings import Severity

Status = Literal["firing", "resolved"]


class Alert(BaseModel):
    """One a rule and subject, however many events there are; kept over a restart."""

    model_config = ConfigDict(extra="forbid")

    id: str
    rule: str
    subject: str
    """A sandbox or container; "" is the host, "*" all for which there was no room."""
    severity: Severity
    """Of the worst event."""
    count: int
    started: datetime
    last: datetime
    told: bool = False
    """The channel knows of it."""
    waiting: bool = False
    """There is something that the channel was not told: its limit was reached."""

    def add(self, event: SecurityAuditEvent) -> bool:
        """Whether it is worse now."""
        worse = not self.severity.at_least(event.severity)
        self.severity = event.severity if worse else self.severity
        self.count, self.last = self.count + 1, max(self.last, event.timestamp)
        return worse


class Notification(BaseModel):
    """What a channel sends. `id` is the same where it comes again, `alert_id` as long as the alert fires."""

    model_config = ConfigDict(frozen=True)

    id: str
    alert_id: str
    alert: str
    status: Status
    severity: Severity
    host: str
    subject: str
    count: int
    suppressed: int
    """Alerts of this rule that this channel was not told of since the last one."""
    started: datetime
    last: datetime
    repeat_s: float
    quiet_s: float
    """Both of the rule: when there will be more to tell at the latest."""
    event: SecurityAuditEvent | None = None
    """The newest one, where it fires."""

    @property
    def summary(self) -> str:
        """One line."""
        about = f"sandbox {self.subject}" if self.subject else "host"
        what = f": {self.event.event_type} {self.event.details.get('rule_id', '')}" if self.event else ""
        more = f"; {self.suppressed} other alerts suppressed" if self.suppressed else ""
        times = "1 event" if self.count == 1 else f"{self.count} events"
        return f"{self.alert} {self.status} ({self.severity}, {about}, {times}){what}".rstrip() + more

    @property
    def body(self) -> bytes:
        """JSON on one line."""
        return self.model_dump_json(exclude_none=True, exclude={"repeat_s", "quiet_s"}).encode()


def notification(
    alert: Alert,
    status: Status,
    host: str,
    *,
    suppressed: int = 0,
    repeat_s: float = 0.0,
    quiet_s: float = 0.0,
    event: SecurityAuditEvent | None = None,
) -> Notification:
    return Notification(
        id=digest(alert.id, status, alert.count),
        alert_id=alert.id,
        alert=alert.rule,
        status=status,
        severity=alert.severity,
        host=host,
        subject=alert.subject,
        count=alert.count,
        suppressed=suppressed,
        started=alert.started,
        last=alert.last,
        repeat_s=repeat_s,
        quiet_s=quiet_s,
        event=event,
    )


def digest(*parts: object) -> str:
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]

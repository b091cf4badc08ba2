"""What one rule makes of the events, for one channel: pure, with the time given by the caller."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from daemon.alerts.alert import Alert, Notification, Status, digest, notification
from daemon.alerts.limit import Limit
from daemon.alerts.rule import AlertRule
from daemon.audit.record import SecurityAuditEvent

SUBJECTS = 1000
TIMES = 20_000
"""Kept of all subjects of a rule, at most."""
OTHERS = "*"
"""The subject of an alert for all that came when SUBJECTS were firing."""


@dataclass(slots=True)
class Firing:
    """`times` are of the last events; `held_s` and `told_s` by the caller's clock."""

    alert: Alert
    times: deque[float]
    held_s: float
    told_s: float = field(default=0.0)


class Evaluation:
    """Times of events are their own, so that what is read late is counted as it happened; what follows is
    timed by `now_s`, of a clock that never goes back."""

    def __init__(self, rule: AlertRule, limit: Limit, host: str) -> None:
        self.rule = rule
        self.suppressed = 0
        """Since the channel was told last."""
        self.suppressed_total = 0
        self.changes = 0
        """How often an alert began, was told or held back, or ended; not each event that it counts."""
        self._limit, self._host = limit, host
        self._most_counted = max(20, min(SUBJECTS, TIMES // rule.at_least))
        self._counted: OrderedDict[str, deque[float]] = OrderedDict()
        self._firing: dict[str, Firing] = {}

    @property
    def alerts(self) -> list[Alert]:
        return [firing.alert for firing in self._firing.values()]

    def restore(self, alerts: Iterable[Alert], suppressed: int, now_s: float) -> None:
        """Those of an earlier run, as if they had held just now."""
        self.suppressed = suppressed
        for alert in alerts:
            self._firing[alert.subject] = Firing(alert, self._times(), now_s, now_s)

    def take(self, event: SecurityAuditEvent, now_s: float) -> Notification | None:
        """What the channel is to be told now."""
        if not self.rule.wants(event):
            return None
        subject = self._room_for(self.rule.subject(event))
        if (firing := self._firing.get(subject)) is not None:
            return self._again(firing, event, now_s)
        times = self._count(subject, event)
        return self._begin(subject, times, event, now_s) if self._holds(times) else None

    def due(self, now_s: float) -> list[Notification]:
        """Those that have been quiet: resolved. A channel that never heard of one hears nothing now."""
        quiet = [one for one in self._firing.values() if now_s - one.held_s >= self.rule.quiet_s]
        for firing in quiet:
            del self._firing[firing.alert.subject]
        self.changes += len(quiet)
        return [self._notification(one.alert, "resolved") for one in quiet if one.alert.told]

    def next_due_s(self) -> float | None:
        """When `due` will have something, by the same clock."""
        held_s = min((one.held_s for one in self._firing.values()), default=None)
        return None if held_s is None else held_s + self.rule.quiet_s

    def _room_for(self, subject: str) -> str:
        full = len(self._firing) >= SUBJECTS and subject not in self._firing
        return OTHERS if full else subject

    def _times(self) -> deque[float]:
        return deque(maxlen=self.rule.at_least)

    def _count(self, subject: str, event: SecurityAuditEvent) -> deque[float]:
        times = self._counted.setdefault(subject, self._times())
        times.append(event.timestamp.timestamp())
        self._counted.move_to_end(subject)
        if len(self._counted) > self._most_counted:
            self._counted.popitem(last=False)
        return times

    def _holds(self, times: deque[float]) -> bool:
        return len(times) == self.rule.at_least and times[-1] - times[0] <= self.rule.within_s

    def _begin(
        self, subject: str, times: deque[float], event: SecurityAuditEvent, now_s: float
    ) -> Notification | None:
        del self._counted[subject]
        alert = Alert(
            id=digest(self.rule.name, subject, event.id),
            rule=self.rule.name,
            subject=subject,
            severity=event.severity,
            count=len(times),
            started=event.timestamp,
            last=event.timestamp,
        )
        firing = self._firing[subject] = Firing(alert, times, now_s)
        return self._tell(firing, event, now_s)

    def _again(self, firing: Firing, event: SecurityAuditEvent, now_s: float) -> Notification | None:
        firing.times.append(event.timestamp.timestamp())
        if self._holds(firing.times):
            firing.held_s = now_s
        worse = firing.alert.add(event)
        if worse or firing.alert.waiting or now_s - firing.told_s >= self.rule.repeat_s:
            return self._tell(firing, event, now_s)
        return None

    def _tell(self, firing: Firing, event: SecurityAuditEvent, now_s: float) -> Notification | None:
        alert = firing.alert
        if not self._limit.allows(alert.severity, now_s):
            self._suppress(alert)
            return None
        alert.told, alert.waiting, firing.told_s = True, False, now_s
        self.changes += 1
        return self._notification(alert, "firing", event)

    def _suppress(self, alert: Alert) -> None:
        """Counted once, until it was told."""
        if not alert.waiting:
            alert.waiting = True
            self.changes += 1
            self.suppressed += 1
            self.suppressed_total += 1

    def _notification(
        self, alert: Alert, status: Status, event: SecurityAuditEvent | None = None
    ) -> Notification:
        suppressed, self.suppressed = self.suppressed, 0
        return notification(
            alert,
            status,
            self._host,
            suppressed=suppressed,
            repeat_s=self.rule.repeat_s,
            quiet_s=self.rule.quiet_s,
            event=event,
        )

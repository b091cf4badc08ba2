"""What is alerted on, who is told, and what fires now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from daemon.alerts.alert import Alert
from daemon.alerts.alerts import Alerts as Rules
from daemon.alerts.alerts import Line
from daemon.alerts.rule import AlertRule
from daemon.api.access import Access
from daemon.api.problem_types import ADMINISTRATORS_ONLY, OF_ANY_CALLER
from daemon.api.problems import ApiError
from daemon.api.routes import Route, answer
from daemon.findings import Severity

SHOWN = 1000


class AlertChannelView(BaseModel):
    """Counts are since the start of the daemon."""

    name: str
    kind: str
    status: Literal["idle", "delivering", "failing"]
    lag_events: int
    errors: int
    refused: int = Field(description="alerts that the receiver will never take")
    problem: str = Field(description="empty where all is well")
    failing_since: datetime | None


class FiringAlert(BaseModel):
    """One a rule and subject, whatever number of channels it has."""

    alert: str
    subject: str = Field(description="a sandbox or container; empty for the host, * for all beyond 1000")
    severity: Severity = Field(description="of the worst event")
    count: int = Field(description="of events")
    started: datetime
    last: datetime
    told: list[str] = Field(description="the channels that know of it")
    waiting: list[str] = Field(description="those that fail, or whose limit was reached")


class AlertCount(BaseModel):
    alert: str
    channel: str
    told: int = Field(description="messages, those of alerts that are resolved included")
    suppressed: int = Field(description="alerts that the channel was not told of when they fired")
    suppressed_untold: int = Field(description="of these, how many no message has mentioned yet")


class AlertsView(BaseModel):
    rules: list[AlertRule]
    channels: list[AlertChannelView]
    firing: list[FiringAlert] = Field(description="the worst first, 1000 at most")
    firing_total: int
    counts: list[AlertCount]


class Alerts:
    def __init__(self, alerts: Rules, access: Access) -> None:
        self._alerts = alerts
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/alerts",
                self.show,
                "Rules of alerts, their channels, and what fires now; for administrators",
                answer=AlertsView,
                errors=(*OF_ANY_CALLER, ADMINISTRATORS_ONLY),
            )
        ]

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Alerts are about everybody's sandboxes."""
        if not self._access.caller(request).administrator:
            raise ApiError(ADMINISTRATORS_ONLY, "alerts are about everybody's sandboxes")
        lines = self._alerts.lines
        firing = _firing(lines)
        return answer(
            AlertsView(
                rules=list(self._alerts.rules),
                channels=[_channel(line) for line in lines],
                firing=firing[:SHOWN],
                firing_total=len(firing),
                counts=list(_counts(lines)),
            )
        )


def _channel(line: Line) -> AlertChannelView:
    state = line.delivery.state
    return AlertChannelView(
        name=state.name,
        kind=state.kind,
        status=state.status,
        lag_events=line.delivery.lag_events,
        errors=state.errors,
        refused=line.alerting.refusals,
        problem=state.problem,
        failing_since=state.failing_since,
    )


def _firing(lines: Iterable[Line]) -> list[FiringAlert]:
    """The worst first. Of each the view of the channel that is furthest: another may be behind."""
    found: dict[tuple[str, str], FiringAlert] = {}
    for line in lines:
        untold = line.alerting.untold
        for alert in line.alerting.alerts:
            one = found.setdefault((alert.rule, alert.subject), _view(alert))
            if alert.count > one.count:
                one.count, one.last, one.severity = alert.count, alert.last, alert.severity
            (one.waiting if alert.waiting or alert.id in untold else one.told).append(line.name)
    return sorted(found.values(), key=lambda one: (-one.severity.rank, one.started))


def _view(alert: Alert) -> FiringAlert:
    return FiringAlert(
        alert=alert.rule,
        subject=alert.subject,
        severity=alert.severity,
        count=alert.count,
        started=alert.started,
        last=alert.last,
        told=[],
        waiting=[],
    )


def _counts(lines: Iterable[Line]) -> Iterator[AlertCount]:
    for line in lines:
        for each in line.alerting.evaluations:
            yield AlertCount(
                alert=each.rule.name,
                channel=line.name,
                told=line.told(each.rule),
                suppressed=each.suppressed_total,
                suppressed_untold=each.suppressed,
            )

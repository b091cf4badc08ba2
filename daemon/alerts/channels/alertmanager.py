"""Prometheus Alertmanager, API v2: grouped, silenced and routed there with all other alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from daemon.alerts.alert import Notification
from daemon.alerts.channels import ChannelKind, ChannelOptions
from exporters.alertmanager import AlertmanagerApi, AlertmanagerReceiver

MARGIN_S = 60.0


class AlertmanagerOptions(ChannelOptions, AlertmanagerReceiver):
    pass


class Alertmanager:
    """One alert a rule and subject. It ends when it is resolved, or where the daemon is no more.

    So no severity among the labels: it may rise, and would make another alert of it.
    """

    def __init__(self, options: AlertmanagerOptions) -> None:
        self._api = AlertmanagerApi(options)

    async def tell(self, notification: Notification) -> None:
        await self._api.post([_alert(notification, datetime.now(UTC))])

    async def close(self) -> None:
        await self._api.close()


def _alert(notification: Notification, now: datetime) -> dict[str, object]:
    started = min(notification.started, now)
    return {
        "labels": _labels(notification),
        "annotations": {
            "summary": notification.summary,
            "severity": notification.severity,
            "count": str(notification.count),
            "suppressed": str(notification.suppressed),
            "event_id": notification.event.id if notification.event else "",
        },
        "startsAt": started.isoformat(),
        "endsAt": _ends(notification, now).isoformat(),
    }


def _ends(notification: Notification, now: datetime) -> datetime:
    """While it fires it is told again, or resolved, before this."""
    if notification.status == "resolved":
        return now
    return now + timedelta(seconds=notification.repeat_s + notification.quiet_s + MARGIN_S)


def _labels(notification: Notification) -> dict[str, str]:
    labels = {
        "alertname": notification.alert,
        "job": "container-kit",
        "instance": notification.host,
        "sandbox": notification.subject,
    }
    return {name: text for name, text in labels.items() if text}


ALERTMANAGER = ChannelKind(AlertmanagerOptions, Alertmanager)

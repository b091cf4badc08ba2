"""Prometheus Alertmanager, API v2: who is to be woken hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import Field

from daemon.audit.record import SecurityAuditEvent
from daemon.findings import Severity
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact
from exporters.http import Http, HttpOptions, HttpReceiver, refuse_bare_secret

ANNOTATION_LIMIT = 16_000


class AlertmanagerReceiver(HttpReceiver):
    bearer_token: secret.SecretReference | None = None


class AlertmanagerOptions(HttpOptions, AlertmanagerReceiver):
    minimum_severity: Severity = Severity.HIGH
    resolve_after_s: float = Field(default=300.0, gt=0)
    """An event has no end; the alert has one, that long after it was sent."""


class AlertmanagerApi:
    def __init__(self, receiver: AlertmanagerReceiver) -> None:
        if receiver.bearer_token:
            refuse_bare_secret(receiver.url)
        self._receiver = receiver
        self._http = Http(receiver)

    async def post(self, alerts: Sequence[Mapping[str, object]]) -> None:
        """Raises ExportError."""
        body = compact(alerts)
        answer = await self._http.post("/api/v2/alerts", body, "application/json", self._headers())
        if not answer.ok:
            raise answer.error()

    def _headers(self) -> dict[str, str]:
        if self._receiver.bearer_token:
            return {"Authorization": f"Bearer {secret.read(self._receiver.bearer_token)}"}
        return {}

    async def close(self) -> None:
        await self._http.close()


class Alertmanager:
    """One alert per type, severity, session and rule: Alertmanager groups and silences by these labels.

    So a second event of the same labels prolongs the first one's alert, and brings its own annotations.
    """

    def __init__(self, options: AlertmanagerOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._api = AlertmanagerApi(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        await self._api.post([self._alert(event) for event in batch])

    def _alert(self, event: SecurityAuditEvent) -> dict[str, object]:
        ends = datetime.now(UTC) + timedelta(seconds=self._options.resolve_after_s)
        record = self._surroundings.encode(event).decode(errors="backslashreplace")
        return {
            "labels": self._labels(event),
            "annotations": {"event_id": event.id, "action": event.action, "event": record[:ANNOTATION_LIMIT]},
            "startsAt": event.timestamp.isoformat(),
            "endsAt": max(ends, event.timestamp).isoformat(),
        }

    def _labels(self, event: SecurityAuditEvent) -> dict[str, str]:
        labels = {
            "alertname": event.event_type,
            "job": "container-kit",
            "instance": self._surroundings.hostname,
            "severity": event.severity,
            "session_id": event.session_id,
        }
        rule = event.details.get("rule_id")
        if isinstance(rule, str):
            labels["rule"] = rule
        return {name: text for name, text in labels.items() if text}

    async def close(self) -> None:
        await self._api.close()


ALERTMANAGER = Kind(AlertmanagerOptions, Alertmanager)

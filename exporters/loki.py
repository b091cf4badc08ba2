"""Grafana Loki's push API, as JSON. The same line at the same time is kept once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pydantic import Field

from daemon.audit.record import SecurityAuditEvent
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact, time_ns
from exporters.http import Http, HttpOptions, refuse_bare_secret


class LokiOptions(HttpOptions):
    tenant: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,150}$")
    bearer_token: secret.SecretReference | None = None


class Loki:
    """Labels have few values on purpose: job, host, event_type, severity. The id is structured metadata."""

    def __init__(self, options: LokiOptions, surroundings: Surroundings) -> None:
        if options.bearer_token:
            refuse_bare_secret(options.url)
        self._options = options
        self._surroundings = surroundings
        self._http = Http(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        body = compact({"streams": self._streams(batch)})
        answer = await self._http.post("/loki/api/v1/push", body, "application/json", self._headers())
        if not answer.ok:
            raise answer.error()

    def _streams(self, batch: Sequence[SecurityAuditEvent]) -> list[dict[str, object]]:
        streams: defaultdict[tuple[str, str], list[object]] = defaultdict(list)
        for event in batch:
            line = self._surroundings.encode(event).decode(errors="backslashreplace")
            streams[event.event_type, event.severity].append(
                [str(time_ns(event)), line, {"event_id": event.id, "session_id": event.session_id}]
            )
        return [{"stream": self._labels(*key), "values": values} for key, values in streams.items()]

    def _labels(self, event_type: str, severity: str) -> dict[str, str]:
        host = self._surroundings.hostname
        return {"job": "container-kit", "host": host, "event_type": event_type, "severity": severity}

    def _headers(self) -> dict[str, str]:
        headers = {"X-Scope-OrgID": self._options.tenant} if self._options.tenant else {}
        if self._options.bearer_token:
            headers["Authorization"] = f"Bearer {secret.read(self._options.bearer_token)}"
        return headers

    async def close(self) -> None:
        await self._http.close()


LOKI = Kind(LokiOptions, Loki)

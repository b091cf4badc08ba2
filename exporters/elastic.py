"""Elasticsearch and OpenSearch by `_bulk`: each document is created under the event's id, so once."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact, value
from exporters.http import Http, HttpOptions, refuse_bare_secret

THERE_ALREADY = 409
REFUSED = 400
SHOWN = 300


class ElasticOptions(HttpOptions):
    index: str = Field(default="logs-container_kit.audit-default", pattern=r"^[a-z0-9][a-z0-9._-]{0,254}$")
    """An index, an alias or a data stream."""
    api_key: secret.SecretReference | None = None
    user: str | None = None
    password: secret.SecretReference | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> ElasticOptions:
        if (self.user is None) != (self.password is None) or (self.user and self.api_key):
            raise ValueError("give api_key, or user and password, or none of them")
        return self


class Elastic:
    def __init__(self, options: ElasticOptions, surroundings: Surroundings) -> None:
        if options.api_key or options.password:
            refuse_bare_secret(options.url)
        self._options = options
        self._encode = surroundings.encode
        self._http = Http(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        body = b"".join(self._lines(event) for event in batch)
        path = f"/{self._options.index}/_bulk"
        answer = await self._http.post(path, body, "application/x-ndjson", self._headers())
        if not answer.ok:
            raise answer.error()
        _check(answer.json(), len(batch))

    def _lines(self, event: SecurityAuditEvent) -> bytes:
        document = value(self._encode(event))
        if not isinstance(document, dict):
            document = {"message": document}
        document.setdefault("@timestamp", event.timestamp.isoformat())
        return compact({"create": {"_id": event.id}}) + b"\n" + compact(document) + b"\n"

    def _headers(self) -> dict[str, str]:
        if self._options.api_key:
            return {"Authorization": f"ApiKey {secret.read(self._options.api_key)}"}
        if self._options.password:
            pair = f"{self._options.user}:{secret.read(self._options.password)}"
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return {}

    async def close(self) -> None:
        await self._http.close()


def _check(answer: Any, sent: int) -> None:
    """Each item has a status of its own. One that may pass later decides over one that never will."""
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != sent:
        raise ExportError("the answer does not speak of every document")
    failed = [result for result in map(_result, items) if not _created(result.get("status"))]
    if failed:
        worst = min(failed, key=_is_refused)
        told = f"{len(failed)} of {sent} documents not taken: {str(worst.get('error'))[:SHOWN]}"
        raise ExportError(told, retryable=not _is_refused(worst))


def _result(item: Any) -> dict[str, Any]:
    result = item.get("create") if isinstance(item, dict) else None
    return result if isinstance(result, dict) else {}


def _is_refused(result: dict[str, Any]) -> bool:
    return result.get("status") == REFUSED


def _created(status: object) -> bool:
    return isinstance(status, int) and (200 <= status < 300 or status == THERE_ALREADY)


ELASTIC = Kind(ElasticOptions, Elastic)

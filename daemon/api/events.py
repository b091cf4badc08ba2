"""Audit events as they happen: server-sent events."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from daemon.api.access import Access, Caller
from daemon.api.problems import ApiError
from daemon.api.routes import BOOLEAN, Route, flag
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity

MAX_SEQ = (1 << 63) - 1


class Events:
    def __init__(self, audit: AuditLog, access: Access) -> None:
        self._audit = audit
        self._access = access

    def routes(self) -> list[Route]:
        text: dict[str, Any] = {"type": "string", "maxLength": 64}
        query = {
            "session": text,
            "type": {"type": "string", "enum": list(EventType)},
            "severity": {"type": "string", "enum": list(Severity)},
            "follow": {**BOOLEAN, "default": False},
        }
        return [
            Route(
                "GET",
                "/v1/events",
                self.stream,
                "Your audit events; Last-Event-ID resumes",
                content_type="text/event-stream",
                query=query,
            )
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        caller, wanted = self._access.caller(request), _Filter(request)
        last, follow = _last_event_id(request), flag(request, "follow")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        if not follow:
            for event in self._audit.since(last):
                await _send(response, caller, wanted, event)
            return response
        async for event in self._audit.follow(last):
            await _send(response, caller, wanted, event)
        return response


class _Filter:
    def __init__(self, request: web.Request) -> None:
        self._session = request.query.get("session")
        self._type = _one_of(request, "type", EventType)
        self._severity = _one_of(request, "severity", Severity)

    def passes(self, event: SecurityAuditEvent) -> bool:
        return (
            self._session in {None, event.session_id}
            and self._type in {None, event.event_type}
            and self._severity in {None, event.severity}
        )


def _one_of(request: web.Request, name: str, kind: type[EventType] | type[Severity]) -> str | None:
    value = request.query.get(name)
    if value is not None and value not in list(kind):
        raise ApiError(400, "invalid-query", "invalid query", f"{name}: one of {', '.join(kind)}")
    return value


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdigit()) or int(text[:19]) > MAX_SEQ:
        raise ApiError(400, "invalid-header", "invalid header", "Last-Event-ID: the number of an event")
    return int(text)


async def _send(
    response: web.StreamResponse, caller: Caller, wanted: _Filter, event: SecurityAuditEvent
) -> None:
    if caller.may_see(event.actor.uid if event.actor else None) and wanted.passes(event):
        data = event.model_dump_json(exclude_none=True)
        await response.write(f"id: {event.seq}\nevent: {event.event_type}\ndata: {data}\n\n".encode())

"""Audit events as they happen: server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from daemon.api.access import Access, Caller
from daemon.api.presence import while_connected
from daemon.api.problem_types import INVALID_HEADER, INVALID_QUERY, OF_ANY_CALLER
from daemon.api.problems import ApiError
from daemon.api.routes import BOOLEAN, Route, flag
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity

SEQ_DIGITS = 19
POSITIONS = (
    "Server-sent events; follow=true goes on as they happen. Last-Event-ID begins after that event. "
    'An event of type GAP, {"first": number, "last": number}, stands for those that the daemon no longer '
    "remembers: they are in the audit log. AUDIT_CHECKPOINT, one a second, comes when `type` asks for it."
)
CHECKPOINT = EventType.AUDIT_CHECKPOINT


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
                "Your audit events",
                description=POSITIONS,
                content_type="text/event-stream",
                query=query,
                headers={"Last-Event-ID": {"type": "string", "pattern": "^[0-9]{1,19}$"}},
                errors=(*OF_ANY_CALLER, INVALID_HEADER),
            ),
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        caller, wanted = self._access.caller(request), _Filter(request)
        follow, last = flag(request, "follow"), _last_event_id(request)
        if last > self._audit.newest:
            detail = (
                f"Last-Event-ID: {last} is yet to come, {self._audit.newest} is the newest: begin without it"
            )
            raise ApiError(INVALID_HEADER, detail)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        await self._tell_gap(response, last)
        async with while_connected(request):
            async for event in self._events(last, follow=follow):
                if _may_see(caller, event) and wanted.passes(event):
                    await _send(response, event)
        return response

    async def _tell_gap(self, response: web.StreamResponse, last: int) -> None:
        """What is neither sent nor remembered is said: a reader must not take silence for peace."""
        oldest = self._audit.oldest_remembered
        if last + 1 < oldest:
            gap = json.dumps({"first": last + 1, "last": oldest - 1})
            await response.write(f"event: GAP\ndata: {gap}\n\n".encode())

    async def _events(self, last: int, *, follow: bool) -> AsyncIterator[SecurityAuditEvent]:
        if follow:
            async for event in self._audit.follow(last):
                yield event
        for event in self._audit.since(last):
            yield event


class _Filter:
    def __init__(self, request: web.Request) -> None:
        self._session = request.query.get("session")
        self._type = _one_of(request, "type", EventType)
        self._severity = _one_of(request, "severity", Severity)

    def passes(self, event: SecurityAuditEvent) -> bool:
        return (
            self._session in {None, event.session_id}
            and (self._type == event.event_type or (self._type is None and event.event_type != CHECKPOINT))
            and self._severity in {None, event.severity}
        )


def _one_of(request: web.Request, name: str, kind: type[EventType] | type[Severity]) -> str | None:
    value = request.query.get(name)
    if value is not None and value not in list(kind):
        raise ApiError(INVALID_QUERY, f"{name}: one of {', '.join(kind)}")
    return value


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= SEQ_DIGITS):
        raise ApiError(INVALID_HEADER, "Last-Event-ID: the number of an event")
    return int(text)


def _may_see(caller: Caller, event: SecurityAuditEvent) -> bool:
    """Who was refused must not learn here what the answer kept back, such as that others have a sandbox."""
    if event.event_type is EventType.ACCESS_DENIED:
        return caller.administrator
    return caller.may_see(event.actor.uid if event.actor else None)


async def _send(response: web.StreamResponse, event: SecurityAuditEvent) -> None:
    data = event.model_dump_json(exclude_none=True)
    await response.write(f"id: {event.seq}\nevent: {event.event_type}\ndata: {data}\n\n".encode())

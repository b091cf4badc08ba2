"""Requests that were not the caller's to make are recorded, whoever made them and however often."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from daemon.api.access import peer
from daemon.api.problem_types import ADMINISTRATORS_ONLY, CALLER_UNKNOWN, PROFILE_NOT_PERMITTED
from daemon.api.problems import ApiError, NotYours
from daemon.audit.log import AuditLog
from daemon.audit.record import Actor, EventType, SecurityAuditEvent
from daemon.errors import AuditError, QuotaExceeded
from daemon.findings import Severity

EVENTS_A_MINUTE = 30
MINUTE_S = 60.0
PATH_LIMIT = 256
DENIED = {f"/problems/{one.name}" for one in (ADMINISTRATORS_ONLY, CALLER_UNKNOWN, PROFILE_NOT_PERMITTED)}


class Denials:
    """At most EVENTS_A_MINUTE for each uid, or a caller could fill the log; what is left out is counted."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._recorded: dict[int, deque[float]] = {}
        self._left_out: dict[int, int] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except (ApiError, QuotaExceeded) as error:
            if _denies(error) and request.transport is not None:
                await self._record(request, error)
            raise
        return response

    async def _record(self, request: web.Request, error: Exception) -> None:
        actor, _ = peer(request)
        if not self._has_room(actor.uid):
            self._left_out[actor.uid] = self._left_out.get(actor.uid, 0) + 1
            return
        with suppress(AuditError):  # refused it is in any case
            await self._audit.record(_event(request, error, actor, self._left_out.pop(actor.uid, 0)))

    def _has_room(self, uid: int) -> bool:
        times, now = self._recorded.setdefault(uid, deque(maxlen=EVENTS_A_MINUTE)), self._clock()
        if len(times) == EVENTS_A_MINUTE and now - times[0] < MINUTE_S:
            return False
        times.append(now)
        return True


def _denies(error: Exception) -> bool:
    return isinstance(error, NotYours | QuotaExceeded) or (
        isinstance(error, ApiError) and error.problem.type in DENIED
    )


def _event(request: web.Request, error: Exception, actor: Actor, left_out: int) -> SecurityAuditEvent:
    details: dict[str, Any] = {
        "reason": str(error),
        "request": f"{request.method} {request.path[:PATH_LIMIT]}",
        **({"left_out_before": left_out} if left_out else {}),
    }
    return SecurityAuditEvent(
        session_id="daemon",
        event_type=EventType.ACCESS_DENIED,
        severity=Severity.MEDIUM,
        action="refused",
        details=details,
        actor=actor,
    )

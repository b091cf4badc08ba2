"""Whether the audit events arrive where they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from daemon.api.access import Access
from daemon.api.problem_types import OF_ANY_CALLER
from daemon.api.routes import Route, answer
from daemon.delivery.delivery import Delivery


class ExporterView(BaseModel):
    """Counts are of events, since the start of the daemon."""

    name: str
    kind: str
    status: Literal["idle", "delivering", "failing"]
    cursor: int = Field(description="the number of the last event that the receiver has")
    lag_events: int
    lag_s: float = Field(description="the age of the oldest event of a batch that is not delivered yet")
    delivered: int
    refused: int = Field(description="by the receiver, for good: noted in its file of dead letters")
    missed: int = Field(description="gone from the log before they could be read")
    errors: int
    problem: str = Field(description="for an administrator; empty where all is well")
    failing_since: datetime | None


class ExporterList(BaseModel):
    items: list[ExporterView]
    next: str | None = None


class Exporters:
    def __init__(self, deliveries: Sequence[Delivery], access: Access) -> None:
        self._deliveries = deliveries
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/exporters",
                self.list,
                "Each exporter, and how far it is",
                answer=ExporterList,
                errors=OF_ANY_CALLER,
            )
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        administrator = self._access.caller(request).administrator
        return answer(ExporterList(items=[_view(one, administrator) for one in self._deliveries]))


def _view(delivery: Delivery, administrator: bool) -> ExporterView:
    """A problem names the receiver and what it answered: not everybody's business."""
    state = delivery.state
    return ExporterView(
        name=state.name,
        kind=state.kind,
        status=state.status,
        cursor=state.cursor,
        lag_events=delivery.lag_events,
        lag_s=delivery.lag_s,
        delivered=state.delivered,
        refused=state.refused,
        missed=state.missed,
        errors=state.errors,
        problem=state.problem if administrator else "",
        failing_since=state.failing_since,
    )

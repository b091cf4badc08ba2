"""What the detectors found, of containers that run and of those that are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from daemon.api.access import Access, Caller
from daemon.api.pages import QUERY as PAGES
from daemon.api.pages import page
from daemon.api.problem_types import INVALID_QUERY, OF_ANY_CALLER
from daemon.api.problems import ApiError
from daemon.api.routes import Route, answer
from daemon.findings import Category, Severity
from daemon.ledger import FindingRecord, Ledger

SEQ_DIGITS = 16


class FindingList(BaseModel):
    items: list[FindingRecord]
    next: str | None = None


class Findings:
    def __init__(self, ledger: Ledger, access: Access) -> None:
        self._ledger = ledger
        self._access = access

    def routes(self) -> list[Route]:
        text: dict[str, Any] = {"type": "string", "maxLength": 128}
        query = {
            "sandbox": text,
            "container": text,
            "severity": {"type": "string", "enum": list(Severity)},
            "category": {"type": "string", "enum": list(Category)},
            "since": {"type": "string", "format": "date-time"},
            **PAGES,
        }
        return [
            Route(
                "GET",
                "/v1/findings",
                self.list,
                "What the detectors found, oldest first; an administrator sees the host's, too",
                answer=FindingList,
                query=query,
                errors=OF_ANY_CALLER,
            )
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        caller, wanted = self._access.caller(request), _Filter(request)
        found = [r for r in self._ledger.since(0) if _visible(caller, r) and wanted.passes(r)]
        which, after = page(request, [f"{record.seq:0{SEQ_DIGITS}}" for record in found])
        return answer(FindingList(items=found[which], next=after))


def _visible(caller: Caller, record: FindingRecord) -> bool:
    return caller.may_see(record.owner_uid)


class _Filter:
    """A container's id may be cut, to 12 characters at the least, as Docker shows it."""

    def __init__(self, request: web.Request) -> None:
        self._sandbox = request.query.get("sandbox")
        self._container = request.query.get("container")
        self._severity = one_of(request, "severity", Severity)
        self._category = one_of(request, "category", Category)
        self._since = _date(request, "since")

    def passes(self, record: FindingRecord) -> bool:
        return (
            self._sandbox in {None, record.sandbox_id}
            and self._of_container(record.container_id)
            and self._severity in {None, record.severity}
            and self._category in {None, record.category}
            and (self._since is None or record.last_time >= self._since)
        )

    def _of_container(self, container_id: str) -> bool:
        wanted = self._container
        return wanted in {None, container_id} or (
            wanted is not None and len(wanted) >= 12 and container_id.startswith(wanted)
        )


def one_of(request: web.Request, name: str, kind: type[Severity] | type[Category]) -> str | None:
    value = request.query.get(name)
    if value is not None and value not in list(kind):
        raise ApiError(INVALID_QUERY, f"{name}: one of {', '.join(kind)}")
    return value


def _date(request: web.Request, name: str) -> datetime | None:
    """RFC 3339; without an offset it is UTC."""
    if (text := request.query.get(name)) is None:
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        raise ApiError(INVALID_QUERY, f"{name}: a date such as 2026-01-31T12:00:00Z") from error
    return date if date.tzinfo else date.replace(tzinfo=UTC)

"""What was collected after grave findings; it stays when the sandbox is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from daemon.api.access import Access, Caller
from daemon.api.pages import QUERY as PAGES
from daemon.api.pages import page
from daemon.api.problem_types import OF_ANY_CALLER
from daemon.api.problems import NotYours, not_found
from daemon.api.routes import Route, answer
from daemon.forensics.evidence import Evidence, EvidenceSummary
from daemon.forensics.store import EvidenceStore, Stored

HEAD_BYTES = 16 << 10
START = '{"summary": '


class EvidenceList(BaseModel):
    items: list[EvidenceSummary]
    next: str | None = None


class Forensics:
    def __init__(self, store: EvidenceStore, access: Access) -> None:
        self._store = store
        self._access = access

    def routes(self) -> list[Route]:
        text: dict[str, Any] = {"type": "string", "maxLength": 128}
        return [
            Route(
                "GET",
                "/v1/forensics",
                self.list,
                "What was collected after findings of high and critical, oldest first",
                answer=EvidenceList,
                query={"sandbox": text, **PAGES},
                errors=OF_ANY_CALLER,
            ),
            Route(
                "GET",
                "/v1/forensics/{id}",
                self.show,
                "One file of evidence, byte for byte: its audit event has the sha256",
                answer=Evidence,
            ),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._access.caller(request), request.query.get("sandbox")
        found = await asyncio.to_thread(self._visible, caller)
        items = [one for one in found if sandbox in {None, one.sandbox_id}]
        which, after = page(request, [one.id for one in items])
        return answer(EvidenceList(items=items[which], next=after))

    async def show(self, request: web.Request) -> web.StreamResponse:
        caller, evidence_id = self._access.caller(request), request.match_info["id"]
        what = f"evidence {evidence_id[:64]!r}"
        stored = await asyncio.to_thread(self._store.find, evidence_id)
        if stored is None:
            raise not_found(what)
        if not caller.may_see(stored.owner_uid):
            raise NotYours(what)
        try:
            content = await asyncio.to_thread(stored.path.read_bytes)
        except FileNotFoundError as error:  # a newer one has just taken its place
            raise not_found(what) from error
        return web.Response(body=content, content_type="application/json")

    def _visible(self, caller: Caller) -> Sequence[EvidenceSummary]:
        yours: list[Stored] = [one for one in self._store.all() if caller.may_see(one.owner_uid)]
        return [summary for one in yours if (summary := summary_of(one)) is not None]


def summary_of(stored: Stored) -> EvidenceSummary | None:
    """None where it has been removed since. Only the beginning of the file is read."""
    try:
        with stored.path.open("rb") as file:
            head = file.read(HEAD_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None
    summary, _ = json.JSONDecoder().raw_decode(head, len(START))
    return EvidenceSummary.model_validate(summary)

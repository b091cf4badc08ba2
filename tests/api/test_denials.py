"""A caller that is refused again and again leaves a trace each time, but cannot fill the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, web

from daemon.api.denials import EVENTS_A_MINUTE, Denials
from daemon.api.problem_types import CALLER_UNKNOWN, INVALID_QUERY
from daemon.api.problems import ApiError, problems
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[AuditLog]:
    log = AuditLog(tmp_path / "audit.jsonl")
    yield log
    log.close()


@pytest.fixture
async def session(tmp_path: Path, audit: AuditLog, clock: Clock) -> AsyncIterator[ClientSession]:
    """A server that denies everything at /denied, and finds fault with everything at /wrong."""

    async def answer(request: web.Request) -> web.Response:
        raise ApiError(CALLER_UNKNOWN if request.path == "/denied" else INVALID_QUERY, "no")

    app = web.Application(middlewares=[problems, Denials(audit, clock).middleware])
    app.router.add_get("/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    async with ClientSession("http://d", connector=UnixConnector(str(tmp_path / "socket"))) as session:
        yield session
    await runner.cleanup()


async def ask(session: ClientSession, path: str = "/denied", times: int = 1) -> None:
    for _ in range(times):
        async with session.get(path) as response:
            assert response.status in {400, 403}


async def test_a_denial_says_who_asked_for_what(session: ClientSession, audit: AuditLog) -> None:
    await ask(session)
    (event,) = audit.since(0)
    assert event.event_type is EventType.ACCESS_DENIED
    assert event.actor is not None
    assert event.details == {"reason": "no", "request": "GET /denied"}


async def test_a_mistake_is_no_denial(session: ClientSession, audit: AuditLog) -> None:
    await ask(session, "/wrong")
    assert audit.since(0) == []


async def test_a_flood_is_counted_and_not_written(
    session: ClientSession, audit: AuditLog, clock: Clock
) -> None:
    await ask(session, times=EVENTS_A_MINUTE + 7)
    assert len(audit.since(0)) == EVENTS_A_MINUTE
    clock.now_s += 61
    await ask(session, times=2)
    after, last = audit.since(EVENTS_A_MINUTE)
    assert after.details["left_out_before"] == 7
    assert "left_out_before" not in last.details


async def test_a_log_that_cannot_be_written_changes_no_answer(
    session: ClientSession, audit: AuditLog
) -> None:
    async def write() -> None:
        raise OSError(28, "No space left on device")

    audit._write = write  # type: ignore[method-assign]
    async with session.get("/denied") as response:
        assert (response.status, (await response.json())["type"]) == (403, "/problems/caller-unknown")

"""Lists in pages: `{"items": [...], "next": cursor}`, where `next` is null on the last one."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from aiohttp import web

from daemon.api.problem_types import INVALID_QUERY
from daemon.api.problems import ApiError
from daemon.api.routes import number

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
CURSOR_LIMIT = 256

QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "after": {"type": "string", "maxLength": CURSOR_LIMIT, "description": "`next` of the page before"},
}


def page(request: web.Request, positions: list[str]) -> tuple[slice, str | None]:
    """Which of the items to answer with, and the cursor after them.

    `positions` are the items' places in a fixed order, rising: an item that is gone when its cursor comes
    back is no reason to begin anew or to leave out another.
    """
    limit = number(request, "limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT)
    after = request.query.get("after")
    place = "" if after is None else _decode(after)
    first = next((i for i, position in enumerate(positions) if position > place), len(positions))
    end = first + limit
    return slice(first, end), _encode(positions[end - 1]) if end < len(positions) else None


def _encode(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode()


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor[:CURSOR_LIMIT], altchars="-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise ApiError(INVALID_QUERY, "after: give `next` of the page before as it was") from error

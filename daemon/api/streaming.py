"""Output as lines of JSON: readable with curl, exact, and stdout is told from stderr."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from daemon.api.problems import of_exception
from daemon.sandbox.stream import Output

LINES = "application/x-ndjson"
IN_LINES = (
    'Output comes as lines {"stream": "stdout" or "stderr", "data": text}, with "base64" instead of "data" '
    'where it is no UTF-8. What goes wrong after the answer has begun is its last line, {"problem": {...}}.'
)


@asynccontextmanager
async def lines(
    request: web.Request, status: int = 200, headers: dict[str, str] | None = None
) -> AsyncIterator[web.StreamResponse]:
    """An answer that has begun: what goes wrong from here on is its last line, {"problem": ...}."""
    kind = {"Content-Type": LINES, "Cache-Control": "no-store"}
    response = web.StreamResponse(status=status, headers={**kind, **(headers or {})})
    await response.prepare(request)
    try:
        yield response
    except Exception as error:  # the border of the API
        if request.transport is None:
            raise
        await send_line(
            response, {"problem": of_exception(error).problem.model_dump(mode="json", exclude_none=True)}
        )


async def send_line(response: web.StreamResponse, value: dict[str, Any]) -> None:
    await response.write(json.dumps(value).encode() + b"\n")


def output_line(output: Output) -> dict[str, str]:
    """Text where the bytes are UTF-8, base64 where they are not."""
    stream = output.channel.name.lower()
    try:
        return {"stream": stream, "data": output.data.decode()}
    except UnicodeDecodeError:
        return {"stream": stream, "base64": base64.b64encode(output.data).decode()}

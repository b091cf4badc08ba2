"""Output as lines of JSON: readable with curl, exact, and stdout is told from stderr."""

from __future__ import annotations

import base64
import json
from typing import Any

from aiohttp import web

from daemon.sandbox.stream import Output

LINES = "application/x-ndjson"


async def open_lines(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": LINES, "Cache-Control": "no-store"})
    await response.prepare(request)
    return response


async def send_line(response: web.StreamResponse, value: dict[str, Any]) -> None:
    await response.write(json.dumps(value).encode() + b"\n")


def output_line(output: Output) -> dict[str, str]:
    """Text where the bytes are UTF-8, base64 where they are not."""
    stream = output.channel.name.lower()
    try:
        return {"stream": stream, "data": output.data.decode()}
    except UnicodeDecodeError:
        return {"stream": stream, "base64": base64.b64encode(output.data).decode()}

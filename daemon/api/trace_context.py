"""W3C Trace Context, https://www.w3.org/TR/trace-context/: whose trace a request belongs to."""

from __future__ import annotations

import re

from aiohttp import web

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace_id(request: web.Request) -> str | None:
    """A malformed header is ignored, as that standard says; so is what a later version adds at the end."""
    match = _FORM.fullmatch(request.headers.get(HEADER, ""))
    if match is None:
        return None
    version, trace, parent, more = match.groups()
    valid = version != "ff" and not (version == "00" and more) and trace.strip("0") and parent.strip("0")
    return trace if valid else None

"""W3C Trace Context, https://www.w3.org/TR/trace-context/: whose trace a request belongs to."""

from __future__ import annotations

import re

from aiohttp import web
from opentelemetry.trace import SpanContext

from daemon import tracing

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parent(request: web.Request) -> SpanContext:
    """tracing.NOWHERE for a malformed header, which is ignored, as that standard says; so is what a later
    version adds at the end. tracestate and baggage are not taken from callers."""
    match = _FORM.fullmatch(request.headers.get(HEADER, ""))
    if match is None:
        return tracing.NOWHERE
    version, trace, span, flags, more = match.groups()
    valid = version != "ff" and not (version == "00" and more) and trace.strip("0") and span.strip("0")
    return tracing.context(trace, span, sampled=bool(int(flags, 16) & 1)) if valid else tracing.NOWHERE

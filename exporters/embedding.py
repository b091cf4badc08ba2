"""A record inside another document."""

from __future__ import annotations

import json
from typing import Any

from daemon.audit.record import SecurityAuditEvent


def value(record: bytes) -> Any:
    """JSON stays JSON; any other format becomes a string."""
    text = record.decode(errors="backslashreplace")
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def compact(document: Any) -> bytes:
    """One line: whatever is in it, line breaks are escaped."""
    return json.dumps(document, separators=(",", ":")).encode()


def time_ns(event: SecurityAuditEvent) -> int:
    """Since 1970, exact to the microsecond."""
    whole_s = int(event.timestamp.replace(microsecond=0).timestamp())
    return whole_s * 1_000_000_000 + event.timestamp.microsecond * 1000

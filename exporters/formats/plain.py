"""The event as it stands in the log: one line of JSON."""

from __future__ import annotations

import json

from pydantic_core import PydanticSerializationError, to_jsonable_python

from daemon.audit.record import SecurityAuditEvent
from exporters.formats import Emitter


def plain(event: SecurityAuditEvent, _: Emitter) -> bytes:
    """UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    try:
        return event.model_dump_json(exclude_none=True).encode()
    except PydanticSerializationError:
        return encode(event.model_dump(exclude_none=True))


def encode(record: object) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_known)
    return text.encode("utf-8", "replace")


def _known(value: object) -> object:
    """A time as it stands in the log; anything else that JSON does not know, described."""
    return to_jsonable_python(value, fallback=str)

"""Syslog (RFC 5424): the main fields as structured data, the whole event as JSON in the message."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC

from daemon.audit.record import SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter
from exporters.formats.plain import encode, plain

LOG_AUDIT = 13
"""The facility (RFC 5424, 6.2.1)."""
SEVERITIES = {Severity.LOW: 5, Severity.MEDIUM: 4, Severity.HIGH: 3, Severity.CRITICAL: 2}
MESSAGE_LIMIT_BYTES = 6144
"""With the header it fits into the 8 KiB that rsyslog takes by default."""
VALUE_LIMIT = 128
"""Characters of one structured data value."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_HEADER = re.compile(r"[^\x21-\x7e]")


def rfc5424(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    priority = LOG_AUDIT * 8 + SEVERITIES[event.severity]
    time = event.timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    host = _NOT_IN_HEADER.sub("_", emitter.hostname)[:255] or "-"
    header = f"<{priority}>1 {time} {host} container-kitd - {event.event_type.value}"
    return f"{header} {_structured_data(event, emitter)} \ufeff".encode() + _message(event, emitter)


def _structured_data(event: SecurityAuditEvent, emitter: Emitter) -> str:
    values = {
        "seq": event.seq,
        "id": event.id,
        "session": event.session_id,
        "severity": event.severity.value,
        "action": event.action,
        "sandbox": event.sandbox_id,
        "image": event.image_digest,
        "trace": event.trace_id,
        "rule": event.details.get("rule_id"),
    }
    pairs = "".join(f' {name}="{_value(str(value))}"' for name, value in values.items() if value is not None)
    return f"[container-kit@{emitter.enterprise_number}{pairs}]"


def _value(text: str) -> str:
    """RFC 5424 has no escape for a control character: the message has what stood in its place."""
    return re.sub(r'(["\\\]])', r"\\\1", _CONTROL.sub("\ufffd", _cut(text)))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def _message(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    """Whole, or what fits of it, marked, with the digest of the whole as `plain` has it."""
    whole = plain(event, emitter)
    return whole if len(whole) <= MESSAGE_LIMIT_BYTES else _truncated(whole)


def _truncated(whole: bytes) -> bytes:
    fields = json.loads(whole)
    kept = {name: _cut(value) for name, value in fields.items() if isinstance(value, str)}
    digest = hashlib.sha256(whole).hexdigest()
    return encode({**kept, "seq": fields["seq"], "truncated": True, "bytes": len(whole), "sha256": digest})

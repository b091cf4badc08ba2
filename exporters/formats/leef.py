"""Log Event Extended Format 2.0, for QRadar.

The format has no escape of its own, and a delimiter inside a value would begin another one: it is written as
`\\x5e`, a backslash is doubled, line breaks and tabs are `\\n`, `\\r` and `\\t`.
"""

from __future__ import annotations

import re

from daemon.audit.record import SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter

DELIMITER = "^"
SEVERITIES = {Severity.LOW: 3, Severity.MEDIUM: 5, Severity.HIGH: 8, Severity.CRITICAL: 10}
VALUE_LIMIT = 1023
"""Characters of one value, ours: a longer one ends in an ellipsis."""

_ESCAPES = {"\\": r"\\", "^": r"\x5e", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_ESCAPED = re.compile(r"[\\^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def leef(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    kind, details = event.event_type.value, event.details
    fields = {
        "devTime": int(event.timestamp.timestamp() * 1000),
        "cat": kind,
        "sev": SEVERITIES[event.severity],
        "identHostName": emitter.hostname,
        "action": event.action,
        "eventId": event.id,
        "seq": event.seq,
        "sessionId": event.session_id,
        "sandboxId": event.sandbox_id,
        "containerId": details.get("container_id"),
        "imageDigest": event.image_digest,
        "profileDigest": event.profile_digest,
        "sensorTier": event.sensor_tier,
        "traceId": event.trace_id,
        "spanId": event.span_id,
        "usrName": event.actor.uid if event.actor else None,
        "ruleId": details.get("rule_id"),
        "reason": details.get("reason"),
        "msg": details.get("title") or details.get("message"),
    }
    known = {name: value for name, value in fields.items() if value is not None and value != ""}
    pairs = DELIMITER.join(f"{name}={_value(str(value))}" for name, value in known.items())
    return f"LEEF:2.0|container-kit|container-kitd|{emitter.version}|{kind}|{DELIMITER}|{pairs}".encode()


def _value(text: str) -> str:
    short = text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), short)

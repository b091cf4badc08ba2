"""Common Event Format, version 0: for ArcSight, Sentinel and others that read it through syslog."""

from __future__ import annotations

import re

from daemon.audit.record import SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter

SEVERITIES = {Severity.LOW: 4, Severity.MEDIUM: 6, Severity.HIGH: 8, Severity.CRITICAL: 10}
VALUE_LIMIT = 1023
"""Characters of one value, ours: a longer one ends in an ellipsis. Receivers may cut some fields sooner."""

_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def cef(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    kind, details = event.event_type.value, event.details
    name = str(details.get("title") or kind)
    header = ["CEF:0", "container-kit", "container-kitd", emitter.version, kind, name]
    fields = {
        "rt": int(event.timestamp.timestamp() * 1000),
        "dvchost": emitter.hostname,
        "externalId": event.id,
        "act": event.action,
        "cs1Label": "sessionId",
        "cs1": event.session_id,
        "cs2Label": "sandboxId",
        "cs2": event.sandbox_id or "",
        "reason": details.get("rule_id") or details.get("reason") or "",
        "msg": details.get("message") or "",
        "suid": event.actor.uid if event.actor else "",
        **_labelled(event),
    }
    extension = " ".join(f"{key}={_value(str(value))}" for key, value in fields.items() if value != "")
    return f"{'|'.join(map(_header, header))}|{SEVERITIES[event.severity]}|{extension}".encode()


def _labelled(event: SecurityAuditEvent) -> dict[str, str]:
    """In the custom strings that are left."""
    values = {
        "imageDigest": event.image_digest,
        "profileDigest": event.profile_digest,
        "sensorTier": event.sensor_tier,
        "traceId": event.trace_id,
    }
    fields: dict[str, str] = {}
    for number, (label, value) in enumerate(values.items(), start=3):
        if value is not None:
            fields |= {f"cs{number}Label": label, f"cs{number}": value}
    return fields


def _header(text: str) -> str:
    return re.sub(r"([\\|])", r"\\\1", re.sub(r"[\r\n]", " ", _clean(text)))


def _value(text: str) -> str:
    escaped = re.sub(r"([\\=])", r"\\\1", _clean(text))
    return escaped.replace("\r", r"\r").replace("\n", r"\n")


def _clean(text: str) -> str:
    """The format has no escape for other control characters."""
    short = text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"
    return _CONTROL.sub("\ufffd", short)

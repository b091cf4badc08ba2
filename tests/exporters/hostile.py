"""Events whose every field that an attacker may fill tries to break a record or to forge another."""

from __future__ import annotations

from typing import Any

from daemon.audit.record import Actor, EventType, SecurityAuditEvent
from daemon.events import Tier
from daemon.findings import Severity

NASTY = '\n\r\0\t"\\]|=^[ \ud800\u2028\x85'
FIELDS = ("argv", "exe", "path", "env", "image", "labels", "title", "message", "reason", "rule_id")
FORGED = [
    "\n<13>1 2026-01-01T00:00:00Z h a - m - forged",
    'x" forged="1"][forged@1 a="b"] ',
    "|10|act=allowed CEF:0|a|b|c|d|e|1|",
    "\\| act=allowed",
    "^action=allowed^LEEF:2.0|a|b|c|d|^|",
    '"},"severity":"low","x":{"',
    "\\",
    "\ud800\udfff\x00",
]


def hostile(kind: EventType, text: str, *fields: str) -> SecurityAuditEvent:
    """An event like one of a finding, with the text in each of the fields."""
    value = {name: text if name in fields else "x" for name in FIELDS}
    details: dict[str, Any] = {
        "rule_id": value["rule_id"],
        "title": value["title"],
        "message": value["message"],
        "reason": value["reason"],
        "image": value["image"],
        "container_id": "c" * 64,
        "category": "process",
        "techniques": ["T1611", "T1059.004"],
        "process": {"pid": 7, "ppid": 1, "uid": 0, "exe": value["exe"], "argv": [value["argv"]] * 2},
        "evidence": {"path": value["path"], "env": {value["env"]: value["env"]}, "labels": [value["labels"]]},
    }
    return SecurityAuditEvent(
        session_id=text if len(fields) == len(FIELDS) else "s",
        event_type=kind,
        severity=Severity.HIGH,
        action="killed",
        details=details,
        actor=Actor(uid=1, gid=2, pid=3),
        sandbox_id="b" * 16,
        image_digest="sha256:" + "a" * 64,
        profile_digest="sha256:" + "f" * 64,
        trace_id="1" * 32,
        span_id="2" * 16,
        sensor_tier=Tier.LSM,
    )

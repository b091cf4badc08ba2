"""OCSF: Detection Finding (2004) for violations and limits, else Application Lifecycle (6002).

The container profile has its place in `device`, not at the top; the whole event is in `unmapped`.
"""

from __future__ import annotations

import json
from typing import Any

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter
from exporters.formats.plain import encode, plain

START, STOP, OTHER = 3, 4, 99
SEVERITIES = {Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
FINDINGS = {EventType.SECURITY_VIOLATION, EventType.RESOURCE_LIMIT_EXCEEDED}
ACTIVITIES = {
    EventType.EXECUTION_STARTED: START,
    EventType.EXECUTION_BLOCKED: START,
    EventType.EXECUTION_FINISHED: STOP,
    EventType.DAEMON_STARTED: START,
    EventType.DAEMON_STOPPED: STOP,
}
FAILURES = {
    EventType.EXECUTION_BLOCKED,
    EventType.EXECUTION_FAILED,
    EventType.ACCESS_DENIED,
    EventType.DETECTOR_FAILED,
    EventType.EXPORTER_FAILED,
}


def ocsf(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    specific = _finding(event) if event.event_type in FINDINGS else _lifecycle(event, emitter)
    return encode({**_base(event, emitter), **specific})


def _base(event: SecurityAuditEvent, emitter: Emitter) -> dict[str, Any]:
    return {
        "time": _time_ms(event),
        "severity_id": SEVERITIES[event.severity],
        "severity": event.severity.value.capitalize(),
        "metadata": {
            "version": emitter.ocsf_version,
            "uid": event.id,
            "sequence": event.seq,
            "event_code": event.event_type.value,
            "correlation_uid": event.session_id,
            "profiles": ["container", "host"],
            "product": {"name": "container-kitd", "vendor_name": "container-kit", "version": emitter.version},
        },
        "device": {"type_id": 1, "type": "Server", "hostname": emitter.hostname, **_container(event)},
        "unmapped": json.loads(plain(event, emitter)),
    }


def _time_ms(event: SecurityAuditEvent) -> int:
    return int(event.timestamp.timestamp() * 1000)


def _container(event: SecurityAuditEvent) -> dict[str, Any]:
    container = {"uid": event.details.get("container_id"), "name": event.sandbox_id}
    known = {name: str(value) for name, value in container.items() if value}
    return {"container": known} if known else {}


def _lifecycle(event: SecurityAuditEvent, emitter: Emitter) -> dict[str, Any]:
    failed = event.event_type in FAILURES
    return {
        **_class(6002, 6, ACTIVITIES.get(event.event_type, OTHER)),
        "activity_name": event.event_type.value,
        "app": {"name": "container-kitd", "vendor_name": "container-kit", "version": emitter.version},
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
    }


def _finding(event: SecurityAuditEvent) -> dict[str, Any]:
    details, kind = event.details, event.event_type.value
    title = str(details.get("title") or details.get("message") or kind)
    rule = str(details.get("rule_id") or details.get("kind") or kind)
    return {
        **_class(2004, 2, 1),
        "activity_name": "Create",
        "status_id": 1,
        "status": "New",
        "message": title,
        "finding_info": {
            "uid": str(details.get("id") or event.id),
            "title": title,
            "types": [kind],
            "created_time": _time_ms(event),
            "analytic": {"type_id": 1, "type": "Rule", "name": rule, "uid": rule},
        },
    }


def _class(class_uid: int, category_uid: int, activity_id: int) -> dict[str, int]:
    return {
        "class_uid": class_uid,
        "category_uid": category_uid,
        "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id,
    }

"""OCSF: Detection Finding (2004) for violations and limits, else Application Lifecycle (6002).

The container profile has its place in `device`, not at the top; the whole event is in `unmapped`.
"""

from __future__ import annotations

import json
import posixpath
from typing import Any

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter
from exporters.formats.plain import encode, plain

START, STOP, OTHER = 3, 4, 99
SHA_256, REGULAR_FILE = 3, 1
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
    EventType.AUDIT_FAILED,
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
    known: dict[str, Any] = {name: str(value) for name, value in container.items() if value}
    if not known:
        return {}
    return {"container": {**known, **_image(event)}}


def _image(event: SecurityAuditEvent) -> dict[str, Any]:
    """The digest names the image; the container object's hash is its image's."""
    if not event.image_digest:
        return {}
    name = event.details.get("image")
    algorithm, _, value = event.image_digest.rpartition(":")
    image = {"uid": event.image_digest, **({"name": str(name)} if name else {})}
    if algorithm != "sha256":
        return {"image": image}
    return {"image": image, "hash": {"algorithm_id": SHA_256, "algorithm": "SHA-256", "value": value}}


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
            "analytic": {"type_id": 1, "type": "Rule", "name": title, "uid": rule},
            **_attacks(details.get("techniques")),
        },
        **_evidences(event),
    }


def _attacks(techniques: Any) -> dict[str, Any]:
    """ATT&CK: `T1059.004` is a sub-technique of `T1059`."""
    if not isinstance(techniques, list) or not techniques:
        return {}
    return {"attacks": [_attack(str(technique)) for technique in techniques]}


def _attack(technique: str) -> dict[str, Any]:
    whole, _, part = technique.partition(".")
    sub = {"sub_technique": {"uid": technique, "name": technique}} if part else {}
    return {"technique": {"uid": whole, "name": whole}, **sub}


def _evidences(event: SecurityAuditEvent) -> dict[str, Any]:
    """The process of a finding, with the container that it was in: the profile's place for it."""
    process = event.details.get("process")
    if not isinstance(process, dict) or not isinstance(process.get("pid"), int):
        return {}
    exe, argv = str(process.get("exe") or ""), process.get("argv")
    found: dict[str, Any] = {"pid": process["pid"], **_container(event)}
    if isinstance(argv, list) and argv:
        found["cmd_line"] = " ".join(map(str, argv))
    if name := posixpath.basename(exe):
        found |= {"name": name, "file": {"name": name, "path": exe, "type_id": REGULAR_FILE}}
    if isinstance(process.get("uid"), int):
        found["user"] = {"uid": str(process["uid"])}
    return {"evidences": [{"process": found}]}


def _class(class_uid: int, category_uid: int, activity_id: int) -> dict[str, int]:
    return {
        "class_uid": class_uid,
        "category_uid": category_uid,
        "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id,
    }

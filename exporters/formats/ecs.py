"""Elastic Common Schema 8, nested: for Elasticsearch, OpenSearch and Elastic Security.

The whole event, as `plain` has it, is in `event.original`: no field outside of the schema, so none whose type
an index could take for another.
"""

from __future__ import annotations

import posixpath
from datetime import UTC
from typing import Any

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter
from exporters.formats.plain import encode, plain

VERSION = "8.17.0"
SEVERITIES = {Severity.LOW: 21, Severity.MEDIUM: 47, Severity.HIGH: 73, Severity.CRITICAL: 99}
"""As Elastic Security's own rules have them."""
ALERTS = {EventType.SECURITY_VIOLATION, EventType.RESOURCE_LIMIT_EXCEEDED}
CATEGORIES = {"process": "process", "filesystem": "file", "network": "network", "resource": "process"}
"""Of a rule's category; whatever it is, a violation is an `intrusion_detection`, too."""

Kind = tuple[str, str, str | None]
"""event.category, event.type and event.outcome; no outcome where it means nothing."""
KINDS: dict[EventType, Kind] = {
    EventType.EXECUTION_STARTED: ("process", "start", "success"),
    EventType.EXECUTION_FINISHED: ("process", "end", "success"),
    EventType.EXECUTION_BLOCKED: ("api", "denied", "failure"),
    EventType.EXECUTION_FAILED: ("process", "end", "failure"),
    EventType.RESOURCE_LIMIT_EXCEEDED: ("process", "info", None),
    EventType.SECURITY_VIOLATION: ("intrusion_detection", "info", None),
    EventType.SANDBOX_ADOPTED: ("process", "info", "success"),
    EventType.SANDBOX_ACCESSED: ("process", "access", "success"),
    EventType.ACCESS_DENIED: ("api", "denied", "failure"),
    EventType.DETECTOR_FAILED: ("process", "info", "failure"),
    EventType.EXPORTER_FAILED: ("process", "info", "failure"),
    EventType.AUDIT_FAILED: ("process", "info", "failure"),
    EventType.DAEMON_STARTED: ("process", "start", "success"),
    EventType.DAEMON_STOPPED: ("process", "end", "success"),
}
OTHER: Kind = ("host", "info", None)


def ecs(event: SecurityAuditEvent, emitter: Emitter) -> bytes:
    record = {
        "@timestamp": event.timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
        "message": _text(
            event.details.get("title") or event.details.get("message") or event.event_type.value
        ),
        "ecs": {"version": VERSION},
        "event": _event(event, emitter),
        "log": {"level": event.severity.value},
        "host": {"name": emitter.hostname},
        "observer": {"vendor": "container-kit", "product": "container-kitd", "version": emitter.version},
        "labels": _labels(event),
        "container": _container(event),
        "process": _process(event.details.get("process")),
        "rule": _rule(event),
        "threat": _threat(event.details.get("techniques")),
        "user": {"id": str(event.actor.uid), "group": {"id": str(event.actor.gid)}} if event.actor else None,
        "trace": {"id": event.trace_id} if event.trace_id else None,
        "span": {"id": event.span_id} if event.span_id else None,
    }
    return encode(_known(record))


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {}, [], "")}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _event(event: SecurityAuditEvent, emitter: Emitter) -> dict[str, Any]:
    category, kind, outcome = KINDS.get(event.event_type, OTHER)
    categories = [category]
    if event.event_type is EventType.SECURITY_VIOLATION:
        categories.append(CATEGORIES.get(_text(event.details.get("category")), "process"))
    return _known(
        {
            "kind": "alert" if event.event_type in ALERTS else "event",
            "category": categories,
            "type": [kind],
            "outcome": outcome,
            "action": event.event_type.value.lower().replace("_", "-"),
            "code": event.event_type.value,
            "severity": SEVERITIES[event.severity],
            "id": event.id,
            "sequence": event.seq,
            "reason": _text(event.details.get("reason")),
            "provider": "container-kitd",
            "module": "container_kit",
            "dataset": "container_kit.audit",
            "original": plain(event, emitter).decode(),
        }
    )


def _labels(event: SecurityAuditEvent) -> dict[str, str]:
    return _known(
        {
            "session_id": event.session_id,
            "sandbox_id": event.sandbox_id,
            "action": event.action,
            "profile_digest": event.profile_digest,
            "sensor_tier": event.sensor_tier,
        }
    )


def _container(event: SecurityAuditEvent) -> dict[str, Any]:
    digests = [event.image_digest] if event.image_digest else []
    image = _known({"name": _text(event.details.get("image")), "hash": _known({"all": digests})})
    return _known({"id": _text(event.details.get("container_id")), "name": event.sandbox_id, "image": image})


def _process(process: Any) -> dict[str, Any]:
    """Of a finding: what the program in the sandbox was, as the kernel had it."""
    if not isinstance(process, dict):
        return {}
    executable, args = _text(process.get("exe")), process.get("argv")
    found = [_text(arg) for arg in args] if isinstance(args, list) else []
    return _known(
        {
            "pid": _number(process.get("pid")),
            "parent": _known({"pid": _number(process.get("ppid"))}),
            "executable": executable,
            "name": posixpath.basename(executable),
            "args": found,
            "args_count": len(found) or None,
            "user": _known({"id": _text(process.get("uid"))}),
        }
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _rule(event: SecurityAuditEvent) -> dict[str, str]:
    names = {"id": "rule_id", "name": "title", "category": "category"}
    found = {name: _text(event.details.get(ours)) for name, ours in names.items()}
    return _known(found) if found["id"] else {}


def _threat(techniques: Any) -> dict[str, Any]:
    """ATT&CK: `T1611` is a technique, `T1059.004` one and its sub-technique."""
    if not isinstance(techniques, list) or not techniques:
        return {}
    found = [_text(technique) for technique in techniques]
    whole = list(dict.fromkeys(technique.partition(".")[0] for technique in found))
    subs = [technique for technique in found if "." in technique]
    technique = _known({"id": whole, "subtechnique": _known({"id": subs})})
    return {"framework": "MITRE ATT&CK", "technique": technique}

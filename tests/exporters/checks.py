"""What is wrong with a record of an event, found by other means than the record was made by.

OCSF against the published schemas of each version, ECS against the part of its schema in
`formats.ecs_schema`; CEF, LEEF and syslog by parsers written from the specifications; each field is compared
with the event's own.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from daemon import __version__
from daemon.audit.record import SecurityAuditEvent
from exporters.formats import Emitter
from exporters.formats.inventory import FORMATS
from tests.exporters.formats import ecs_schema, parsers

OCSF_VERSIONS = ("1.1.0", "1.3.0", "1.8.0")
OCSF_CLASSES = {2004: "detection_finding", 6002: "application_lifecycle"}
EMITTER = Emitter(hostname=socket.gethostname(), version=__version__)
ECS = Draft202012Validator(ecs_schema.SCHEMA)


def problems(event: SecurityAuditEvent) -> Iterator[tuple[str, str]]:
    """What is wrong with any of its records: pairs of format and problem."""
    for name in FORMATS:
        if name != "ocsf":
            yield from ((name, problem) for problem in wrong(name, event, FORMATS[name](event, EMITTER)))
    for version in OCSF_VERSIONS:
        record = FORMATS["ocsf"](event, replace(EMITTER, ocsf_version=version))
        yield from ((f"ocsf {version}", problem) for problem in wrong("ocsf", event, record))


def wrong(name: str, event: SecurityAuditEvent, record: bytes) -> Iterator[str]:
    """What is wrong with that record of the event in the format of that name, wherever it has been."""
    if set(record) & set(range(32)):
        yield "a control character: a receiver could take it for the record's end"
    yield from CHECKS[name](event, record.decode())


def whole(event: SecurityAuditEvent) -> Any:
    """The event as UTF-8 can have it: a lone surrogate becomes a question mark."""
    text = json.dumps(event.model_dump(exclude_none=True, mode="python"), default=str, ensure_ascii=False)
    return _timeless(json.loads(text.encode("utf-8", "replace")))


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "timestamp"}


def _plain(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    if _timeless(json.loads(text)) != whole(event):
        yield "does not read back equal"


@cache
def _validator(version: str, class_uid: int) -> Draft202012Validator:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    name, profiles = OCSF_CLASSES[class_uid], ["container", "host"]
    return Draft202012Validator(schemas.get_class_schema(name, profiles=profiles))


def _ocsf(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    record = json.loads(text)
    for error in _validator(record["metadata"]["version"], record["class_uid"]).iter_errors(record):
        yield f"{list(error.path)}: {error.message[:200]}"
    if _timeless(record["unmapped"]) != whole(event):
        yield "unmapped is not the event"


def _ecs(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    record = json.loads(text)
    for error in ECS.iter_errors(record):
        yield f"{list(error.path)}: {error.message[:200]}"
    if wrong := ecs_schema.mismatched(record):
        yield f"event.type {wrong} is none of event.category {record['event']['category']}"
    if _timeless(json.loads(record["event"]["original"])) != whole(event):
        yield "event.original is not the event"


def _readable(value: object, limit: int, kept: str = "") -> str:
    """What a line format can hold of a text: `limit` characters, and no control characters but those kept."""
    text = str(value)
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char in kept or not _is_control(char) else "\ufffd" for char in short)


def _is_control(char: str) -> bool:
    point = ord(char)
    return point < 0x20 or 0x7F <= point < 0xA0 or point in {0x2028, 0x2029} or 0xD800 <= point < 0xE000


def _different(found: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    for name in found.keys() | expected.keys():
        if found.get(name) != expected.get(name):
            yield f"{name}: {str(found.get(name))[:80]!r} instead of {str(expected.get(name))[:80]!r}"


def _time_ms(event: SecurityAuditEvent) -> int:
    return int(event.timestamp.timestamp() * 1000)


def _cef(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    yield from cef_differences(event, *parsers.cef(text))


def cef_differences(event: SecurityAuditEvent, header: list[str], found: dict[str, str]) -> Iterator[str]:
    """Between the event and what somebody read in its record: the header's fields, and the extension."""
    details, kind = event.details, event.event_type.value
    title = _readable(details.get("title") or kind, 1023, "\r\n").replace("\r", " ").replace("\n", " ")
    severity = {"low": "4", "medium": "6", "high": "8", "critical": "10"}[event.severity]
    if header != ["CEF:0", "container-kit", "container-kitd", __version__, kind, title, severity]:
        yield f"header {header}"
    expected = {
        "rt": _time_ms(event),
        "dvchost": EMITTER.hostname,
        "externalId": event.id,
        "act": event.action,
        "cs1Label": "sessionId",
        "cs1": event.session_id,
        "cs2Label": "sandboxId",
        "cs2": event.sandbox_id,
        "reason": details.get("rule_id") or details.get("reason"),
        "msg": details.get("message"),
        "suid": event.actor.uid if event.actor else None,
        **_labelled("cs3", "imageDigest", event.image_digest),
        **_labelled("cs4", "profileDigest", event.profile_digest),
        **_labelled("cs5", "sensorTier", event.sensor_tier),
        **_labelled("cs6", "traceId", event.trace_id),
    }
    yield from _different(found, _present(expected, "\r\n"))


def _labelled(key: str, label: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {f"{key}Label": label, key: value}


def _present(expected: dict[str, Any], kept: str) -> dict[str, str]:
    return {
        name: _readable(value, 1023, kept)
        for name, value in expected.items()
        if value is not None and value != ""
    }


def _leef(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    header, found = parsers.leef(text)
    details, kind = event.details, event.event_type.value
    if header != ["LEEF:2.0", "container-kit", "container-kitd", __version__, kind, "^"]:
        yield f"header {header}"
    expected = {
        "devTime": _time_ms(event),
        "cat": kind,
        "sev": {"low": 3, "medium": 5, "high": 8, "critical": 10}[event.severity],
        "identHostName": EMITTER.hostname,
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
    yield from _different(found, _present(expected, "\r\n\t"))


def _syslog(event: SecurityAuditEvent, text: str) -> Iterator[str]:
    found = parsers.syslog(text)
    severity = {"low": 5, "medium": 4, "high": 3, "critical": 2}[event.severity]
    header = (13, severity, EMITTER.hostname, event.event_type.value)
    if (found.facility, found.severity, found.host, found.message_id) != header:
        yield f"header {found}"
    (data,) = found.data.values()
    yield from syslog_differences(event, data, found.message)


def syslog_differences(event: SecurityAuditEvent, data: dict[str, str], text: str) -> Iterator[str]:
    """Between the event and what somebody read in its record: our structured data, and the message."""
    yield from _different(data, structured_data(event))
    message = json.loads(text)
    if message.get("truncated"):
        if (message["id"], message["seq"], len(message["sha256"])) != (event.id, event.seq, 64):
            yield "the message is not of the event"
    elif _timeless(message) != whole(event):
        yield "the message is not the event"


def structured_data(event: SecurityAuditEvent) -> dict[str, str]:
    """The parameters that the format rfc5424 has for the event."""
    known = {
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
    return {name: _readable(value, 128) for name, value in known.items() if value is not None}


CHECKS: dict[str, Callable[[SecurityAuditEvent, str], Iterator[str]]] = {
    "plain": _plain,
    "ocsf": _ocsf,
    "ecs": _ecs,
    "cef": _cef,
    "leef": _leef,
    "rfc5424": _syslog,
}

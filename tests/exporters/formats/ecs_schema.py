"""The part of the Elastic Common Schema 8 that is used, as its field reference has it: written by hand, as no
package carries the schema. It knows names, types, allowed values and which event.type goes with which
category; a field that it does not have is an error, so that one made up is found, but it is no copy of
the whole.
"""

from __future__ import annotations

from typing import Any

DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(\+00:00|Z)$"
TYPES_OF = {
    "api": {
        "access",
        "admin",
        "allowed",
        "change",
        "creation",
        "deletion",
        "denied",
        "end",
        "info",
        "start",
        "user",
    },
    "file": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
}
"""event.type by event.category: its table of expected types."""


def _of(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False, "minProperties": 1}


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
LONG: dict[str, Any] = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}

SCHEMA: dict[str, Any] = {
    **_of(
        **{"@timestamp": {"type": "string", "pattern": DATE}},
        message=TEXT,
        ecs=_of(version={"type": "string", "pattern": r"^8\.\d+\.\d+$"}),
        event=_of(
            kind={
                "enum": [
                    "alert",
                    "asset",
                    "enrichment",
                    "event",
                    "metric",
                    "pipeline_error",
                    "signal",
                    "state",
                ]
            },
            category={"type": "array", "items": {"enum": sorted(TYPES_OF)}, "minItems": 1},
            type={"type": "array", "items": TEXT, "minItems": 1},
            outcome={"enum": ["failure", "success", "unknown"]},
            action=TEXT,
            code=TEXT,
            dataset=TEXT,
            id=TEXT,
            module=TEXT,
            original=TEXT,
            provider=TEXT,
            reason=TEXT,
            sequence=LONG,
            severity=LONG,
        ),
        log=_of(level=TEXT),
        host=_of(name=TEXT),
        observer=_of(vendor=TEXT, product=TEXT, version=TEXT),
        labels={"type": "object", "additionalProperties": {"type": "string"}},
        container=_of(id=TEXT, name=TEXT, image=_of(name=TEXT, hash=_of(all=TEXTS))),
        process=_of(
            pid=LONG,
            parent=_of(pid=LONG),
            executable=TEXT,
            name=TEXT,
            args=TEXTS,
            args_count=LONG,
            user=_of(id=TEXT),
        ),
        rule=_of(id=TEXT, name=TEXT, category=TEXT),
        threat=_of(framework=TEXT, technique=_of(id=TEXTS, subtechnique=_of(id=TEXTS))),
        user=_of(id=TEXT, group=_of(id=TEXT)),
        trace=_of(id=TEXT),
        span=_of(id=TEXT),
    ),
    "required": ["@timestamp", "ecs", "event", "message"],
}


def mismatched(record: dict[str, Any]) -> set[str]:
    """Types of the event that none of its categories has."""
    expected = set().union(*(TYPES_OF[category] for category in record["event"]["category"]))
    return set(record["event"]["type"]) - expected

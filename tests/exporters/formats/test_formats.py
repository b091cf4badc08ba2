"""Whatever a field holds, one event is one record, and it reads back."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.findings import Severity
from exporters.formats import Emitter
from exporters.formats.inventory import FORMATS

EMITTER = Emitter(hostname="node 1", version="0.1.0")
HOSTILE = st.text(st.one_of(st.sampled_from('\n\r\0"\\]|=\ud800\u2028'), st.characters()), max_size=60)
CLASSES = {2004: "detection_finding", 6002: "application_lifecycle"}
SD_VALUE = re.compile(r' ([a-z]+)="((?:[^"\\\]]|\\.)*)"', re.DOTALL)


def event(kind: EventType = EventType.SECURITY_VIOLATION, text: str = "x") -> SecurityAuditEvent:
    return SecurityAuditEvent(
        session_id=text,
        event_type=kind,
        severity=Severity.HIGH,
        action=text,
        sandbox_id=text,
        details={"rule_id": text, "title": text, "container_id": text, "argv": [text]},
    )


def in_utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("name", FORMATS)
@given(text=HOSTILE)
@settings(deadline=None)
def test_a_hostile_field_makes_no_second_record(name: str, text: str) -> None:
    record = FORMATS[name](event(text=text), EMITTER)
    assert not set(record) & set(range(32))
    record.decode()


@given(text=HOSTILE)
@settings(deadline=None)
def test_it_reads_back_equal(text: str) -> None:
    plain = json.loads(FORMATS["plain"](event(text=text), EMITTER))
    finding = json.loads(FORMATS["ocsf"](event(text=text), EMITTER))
    header, message = FORMATS["rfc5424"](event(text=text), EMITTER).decode().split("\ufeff{", 1)
    for record in (plain, finding["unmapped"], json.loads("{" + message)):
        assert record["session_id"] == record["details"]["argv"][0] == in_utf8(text)
    data = header[header.index("[") + 1 :]
    assert len(SD_VALUE.findall(data)) == 7
    assert SD_VALUE.sub("", data) == "container-kit@32473] "


def test_what_is_too_long_for_syslog_is_cut_marked_and_hashed() -> None:
    huge = event(text="\n" * 1_000_000)
    record = FORMATS["rfc5424"](huge, EMITTER)
    message = json.loads(record.decode().split("\ufeff", 1)[1])
    assert len(record) < 8192
    assert message["truncated"]
    assert message["sha256"] == hashlib.sha256(FORMATS["plain"](huge, EMITTER)).hexdigest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("version", ["1.1.0", "1.3.0", "1.8.0"])
def test_every_type_of_event_is_valid_ocsf(version: str, algorithm: str) -> None:
    emitter = Emitter(hostname="node-1", version="0.1.0", ocsf_version=version)
    digest = f"{algorithm}:{'a' * 64}"
    for kind in EventType:
        one = event(kind).model_copy(update={"image_digest": digest})
        record = json.loads(FORMATS["ocsf"](one, emitter))
        errors = [error.message for error in validator(version, record["class_uid"]).iter_errors(record)]
        assert errors == [], kind
        container = record["device"]["container"]
        assert container["image"]["uid"] == digest
        assert ("hash" in container) == (algorithm == "sha256")


@cache
def validator(version: str, class_uid: int) -> Draft202012Validator:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
    return Draft202012Validator(schemas.get_class_schema(CLASSES[class_uid], profiles=["container", "host"]))


@given(text=HOSTILE)
@settings(deadline=None)
def test_cef_has_seven_bars_and_only_its_own_keys(text: str) -> None:
    record = FORMATS["cef"](event(text=text), EMITTER).decode()
    bars = re.split(r"(?<!\\)(?:\\\\)*\|", record, maxsplit=7)
    keys = re.findall(r"(?:^| )(\w+)(?<!\\)=", bars[7])
    own = ["rt", "dvchost", "externalId", "act", "cs1Label", "cs1", "cs2Label", "cs2", "reason"]
    assert [key for key in keys if key in own] == own[: len(own)] if text else "rt" in keys
    assert set(keys) <= set(own)

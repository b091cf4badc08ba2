"""The table of docs/siem.md names every field of an event, and where it says that one is, it is."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from daemon import ROOT
from daemon.audit.record import EventType, SecurityAuditEvent
from exporters.formats.inventory import FORMATS
from tests.exporters.checks import EMITTER
from tests.exporters.formats import parsers
from tests.exporters.formats.test_read_back import FIELDS, hostile

EVENT = hostile(EventType.SECURITY_VIOLATION, "value", *FIELDS)


def table() -> list[list[str]]:
    lines = (ROOT / "docs/siem.md").read_text().partition("## Our fields")[2].partition("## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@cache
def read(name: str) -> Any:
    text = FORMATS[name](EVENT, EMITTER).decode()
    if name == "rfc5424":
        (data,) = parsers.syslog(text).data.values()
        return data
    parse = {"cef": parsers.cef, "leef": parsers.leef}.get(name)
    return parse(text)[1] if parse else json.loads(text)


def at(record: Any, path: str) -> Any:
    for step in path.split("."):
        record = record[int(step)] if step.isdigit() else record[step]
    return record


def test_its_fields_are_those_of_the_event() -> None:
    fields = [row[0].strip("`") for row in table()[2:]]
    assert [f for f in fields if "." not in f] == list(dict.fromkeys(f for f in fields if "." not in f))
    assert {f for f in fields if "." not in f} == set(SecurityAuditEvent.model_fields)


def test_its_columns_are_the_formats() -> None:
    assert set(table()[0][1:]) == set(FORMATS)


@pytest.mark.parametrize("row", table()[2:], ids=lambda row: row[0])
def test_each_field_is_where_the_table_has_it(row: list[str]) -> None:
    for name, cell in zip(table()[0][1:], row[1:], strict=True):
        if path := re.fullmatch("`(.+)`", cell):
            assert at(read(name), path[1]) not in (None, "", [], {}), (name, cell)

"""Every format read back by other means than it was made, whatever an attacker put where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audit.record import EventType
from exporters.formats.inventory import FORMATS
from tests.exporters import validate
from tests.exporters.checks import ECS, problems
from tests.exporters.formats import ecs_schema, parsers
from tests.exporters.hostile import FIELDS, FORGED, NASTY, hostile

HOSTILE = st.text(st.one_of(st.sampled_from(NASTY), st.characters(codec=None)), max_size=60)


@given(text=HOSTILE, kind=st.sampled_from(EventType))
@settings(deadline=None, max_examples=60)
def test_any_text_in_all_fields(text: str, kind: EventType) -> None:
    assert list(problems(hostile(kind, text, *FIELDS))) == []


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_forges_a_record(field: str) -> None:
    for text in [*FORGED, *NASTY]:
        assert list(problems(hostile(EventType.SECURITY_VIOLATION, text, field))) == [], text


@pytest.mark.parametrize("char", ["x", "\n", "\\", "\ud800"])
def test_a_megabyte_in_all_fields(char: str) -> None:
    text = char * 1_000_000
    assert list(problems(hostile(EventType.EXECUTION_BLOCKED, text, "argv", "title", "reason"))) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_field_that_was_changed_on_the_way_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMATS[name]
    changed = hostile(EventType.SECURITY_VIOLATION, "x").model_copy(update={"session_id": "another"})
    monkeypatch.setitem(FORMATS, name, lambda _, emitter: form(changed, emitter))
    found = {where.split()[0] for where, _ in problems(hostile(EventType.SECURITY_VIOLATION, "x"))}
    assert name in found


def test_the_parsers_refuse_what_is_broken() -> None:
    for parse, text in (
        (parsers.cef, "CEF:0|a|b|c|d|e|3|a=1 a=2"),
        (parsers.cef, "CEF:0|a|b|c|d|e"),
        (parsers.cef, "CEF:0|a|b|c|d|e|3|a=b=c"),
        (parsers.leef, "LEEF:2.0|a|b|c|d|^|a=1^forged"),
        (parsers.leef, "LEEF:2.0|a|b|c|d|^|a=1^a=2"),
        (parsers.syslog, '<13>1 t h a - m [x@1 a="]"] \ufeff{}'),
        (parsers.syslog, '<13>1 t h a - m [x@1 a="\\]" b] \ufeff{}'),
    ):
        with pytest.raises(ValueError, match=r"."):
            parse(text)


def test_the_schema_refuses_what_is_no_ecs() -> None:
    assert list(ECS.iter_errors({"@timestamp": "now", "session": 1}))
    assert ecs_schema.mismatched({"event": {"category": ["process"], "type": ["denied"]}}) == {"denied"}


def test_the_program_tells_by_its_result(tmp_path: Path) -> None:
    good, empty = tmp_path / "good", tmp_path / "empty"
    good.write_text(hostile(EventType.EXECUTION_STARTED, "x").model_dump_json() + "\n")
    empty.touch()
    assert (validate.main(good), validate.main(empty)) == (0, 1)

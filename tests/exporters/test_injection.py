"""Whatever an attacker puts into whatever field, each receiver has one whole record an event, and no other.

The events go through an audit log, as those of the daemon do, and in every format into receivers that take
it; what arrived is read back by other means than it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from exporters import syslog
from exporters.formats.inventory import FORMATS
from tests.exporters.checks import EMITTER, wrong
from tests.exporters.hostile import FIELDS, FORGED, NASTY, hostile
from tests.exporters.running import Child, http_receiver, made, record, rsyslog, running, until, whole_lines
from tests.exporters.syslog_ng import syslog_ng

MEGABYTE, FITTING = 1_000_000, 25_000
"""Characters: too long for a line of the log, and not."""
SYSLOG_LIMIT_BYTES = 60_000
OURS = "container-kitd"


def events() -> list[SecurityAuditEvent]:
    kind, texts = EventType.SECURITY_VIOLATION, [*FORGED, *NASTY, "a\udcffb"]
    return [
        *(hostile(kind, text, *FIELDS) for text in texts),
        *(hostile(kind, "".join(texts), name) for name in FIELDS),
        *(hostile(kind, "\n" * length, name) for name in FIELDS for length in (FITTING, MEGABYTE)),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture
async def logged(folder: Path) -> list[SecurityAuditEvent]:
    """As the log has them, which is what an exporter is given."""
    audit, sent = AuditLog(folder / "audit.jsonl"), events()
    if not audit.newest:
        await record(audit, sent)
    found = await audit.read(0, len(sent) + 1)
    audit.close()
    assert len(found) == len(sent)
    return found


@dataclass(frozen=True)
class Way:
    """`read` gives a record as it was sent, of what the receiver kept."""

    kind: str
    start: Callable[[Path], Child]
    kept: Callable[[Child], list[Any]]
    read: Callable[[str, Any], str]
    expected: Callable[[SecurityAuditEvent, str], SecurityAuditEvent] = field(default=lambda event, _: event)
    formats: Sequence[str] = tuple(FORMATS)


def pairs(child: Child) -> list[Any]:
    return [one for _, one in child.received()]


def lines_beside(child: Child) -> list[Any]:
    return [json.loads(line) for line in whole_lines(child.log.with_suffix(".jsonl"))]


def of_http(_: str, kept: Any) -> str:
    return kept if isinstance(kept, str) else json.dumps(kept, ensure_ascii=False)


def of_elastic(name: str, kept: dict[str, Any]) -> str:
    if name in {"plain", "ocsf"}:
        del kept["@timestamp"]
    return kept["message"] if name in {"cef", "leef", "rfc5424"} else of_http(name, kept)


def of_rsyslog(name: str, kept: dict[str, str]) -> str:
    message = kept["msg"].removeprefix(" ").removeprefix("\ufeff")
    assert (kept["host"], kept["app"], kept["message_id"]) == (EMITTER.hostname, OURS, "SECURITY_VIOLATION")
    assert kept["raw"].endswith(message)
    return kept["raw"] if name == "rfc5424" else message


def of_syslog_ng(name: str, kept: dict[str, Any]) -> str:
    header = kept["HOST"], kept["PROGRAM"], kept["MSGID"]
    assert header == (EMITTER.hostname, OURS, "SECURITY_VIOLATION")
    return str(kept["MESSAGE"])


def fitting_syslog(event: SecurityAuditEvent, name: str) -> SecurityAuditEvent:
    """Without details that make it too long, with their digest."""
    if len(FORMATS[name](event, EMITTER)) < SYSLOG_LIMIT_BYTES - 500:
        return event
    details = event.model_dump_json(include={"details"}).encode()
    cut = {"cut_bytes": len(details), "sha256": hashlib.sha256(details).hexdigest()}
    return event.model_copy(update={"details": cut})


# rfc5424 by syslog-ng: test_independent. HTTP has JSON in JSON, or text in JSON: one format of each will do.
WAYS = [
    Way("syslog", rsyslog, lines_beside, of_rsyslog, fitting_syslog),
    Way("syslog", syslog_ng, pairs, of_syslog_ng, fitting_syslog, ("plain", "ocsf", "ecs", "cef", "leef")),
    Way("otlp", http_receiver, pairs, of_http),
    Way("loki", http_receiver, pairs, of_http, formats=("plain", "rfc5424")),
    Way("hec", http_receiver, pairs, of_http, formats=("ocsf", "cef")),
    Way("elastic", http_receiver, pairs, of_elastic, formats=("ecs", "plain", "leef")),
    Way("webhook", http_receiver, pairs, of_http, formats=("plain",)),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.kind}-{way.start.__name__}")
async def test_one_whole_record_an_event(
    way: Way, logged: list[SecurityAuditEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "CLOSED_SOON_S", 0.02)  # nobody is turned away here
    with running(way.start(tmp_path)) as child:
        for end, name in enumerate(way.formats, start=1):
            async with made(way.kind, child.port, tmp_path, format=name) as exporter:
                await exporter.export([one.model_copy(update={"id": f"{name}-{one.id}"}) for one in logged])
                await until(lambda end=end: len(way.kept(child)) >= end * len(logged))
            check(way, name, logged, way.kept(child)[(end - 1) * len(logged) :])


def check(way: Way, name: str, logged: list[SecurityAuditEvent], kept: list[Any]) -> None:
    assert len(kept) == len(logged)
    for event, one in zip(logged, kept, strict=True):
        sent = way.expected(event.model_copy(update={"id": f"{name}-{event.id}"}), name)
        assert list(wrong(name, sent, way.read(name, one).encode())) == [], (name, event.seq)


@pytest.mark.parametrize("name", FORMATS)
async def test_one_line_an_event(name: str, logged: list[SecurityAuditEvent], tmp_path: Path) -> None:
    async with made("file", 0, tmp_path, format=name) as exporter:
        await exporter.export(logged)
    lines = (tmp_path / "events.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    for event, line in zip(logged, lines, strict=True):
        assert list(wrong(name, event, line)) == []

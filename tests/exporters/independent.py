"""Our records read by parsers that others wrote: RFC 5424 by syslog-ng, CEF by liblognorm in rsyslog."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from daemon.audit.record import SecurityAuditEvent
from tests.exporters.checks import EMITTER, cef_differences, syslog_differences
from tests.exporters.running import Child, made, rsyslog, running, until, whole_lines
from tests.exporters.syslog_ng import syslog_ng

ENTERPRISE_NUMBER = 64999
READ_CEF = 'module(load="mmnormalize")\naction(type="mmnormalize" rule=["rule=:%cef:cef%"] path="$!read")'
CEF_HEADER = ("DeviceVendor", "DeviceProduct", "DeviceVersion", "SignatureID", "Name", "Severity")
BATCH = 500
SEVERITIES = {"low": "notice", "medium": "warning", "high": "err", "critical": "crit"}


def problems(events: Sequence[SecurityAuditEvent]) -> Iterator[tuple[SecurityAuditEvent, str, str]]:
    """What is wrong with what they read: event, reader and problem."""
    if not events:
        return
    for name, (make, form, kept, different) in READERS.items():
        with (
            tempfile.TemporaryDirectory(prefix="container-kit-readers-") as folder,
            running(make(Path(folder))) as child,
        ):
            found = asyncio.run(_read(child, form, kept, events, Path(folder)))
        for event, one in zip(events, found, strict=True):
            yield from ((event, name, problem) for problem in different(event, one))


async def _read(
    child: Child,
    form: str,
    kept: Callable[[Child], list[Any]],
    events: Sequence[SecurityAuditEvent],
    folder: Path,
) -> list[Any]:
    options = {"format": form, "enterprise_number": ENTERPRISE_NUMBER}
    async with made("syslog", child.port, folder, **options) as exporter:
        for start in range(0, len(events), BATCH):
            await exporter.export(events[start : start + BATCH])
        await until(lambda: len(kept(child)) >= len(events), every_s=0.2)
    return kept(child)


def _by_syslog_ng(child: Child) -> list[Any]:
    return [record for _, record in child.received()]


def _syslog(event: SecurityAuditEvent, record: dict[str, Any]) -> Iterator[str]:
    header = {name: record[name] for name in ("HOST", "PROGRAM", "MSGID", "FACILITY", "PRIORITY")}
    if header != {
        "HOST": EMITTER.hostname,
        "PROGRAM": "container-kitd",
        "MSGID": event.event_type.value,
        "FACILITY": "security",  # 13, as syslog-ng calls it
        "PRIORITY": SEVERITIES[event.severity],
    }:
        yield f"header {header}"
    if datetime.fromisoformat(record["ISODATE"]).astimezone(UTC) != event.timestamp:
        yield f"time {record['ISODATE']}"
    if list(record["_SDATA"]) != [f"container-kit@{ENTERPRISE_NUMBER}"]:
        yield f"structured data of {list(record['_SDATA'])}"
    (data,) = record["_SDATA"].values()
    yield from syslog_differences(event, data, record["MESSAGE"])


def _by_lognorm(child: Child) -> list[Any]:
    lines = map(json.loads, whole_lines(child.log.with_suffix(".jsonl")))
    return [json.loads(line["read"])["cef"] for line in lines]


def _cef(event: SecurityAuditEvent, record: dict[str, Any]) -> Iterator[str]:
    """liblognorm 2.0.6 takes a space for granted before the first key, and so its first letter away."""
    found = {("rt" if key == "t" else key): value for key, value in record["Extensions"].items()}
    yield from cef_differences(event, ["CEF:0", *(record[name] for name in CEF_HEADER)], found)


READERS: dict[str, tuple[Callable[[Path], Child], str, Callable[[Child], list[Any]], Callable[..., Any]]] = {
    "rfc5424 by syslog-ng": (syslog_ng, "rfc5424", _by_syslog_ng, _syslog),
    "cef by liblognorm": (partial(rsyslog, actions=READ_CEF), "cef", _by_lognorm, _cef),
}

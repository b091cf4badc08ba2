"""What syslog-ng makes of our structured data, by its own parser: equal to the event, whatever is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.audit.record import EventType, SecurityAuditEvent
from tests.exporters.hostile import FIELDS, FORGED, NASTY, hostile
from tests.exporters.running import made, running, until
from tests.exporters.unpacked import syslog_ng
from tests.exporters.validate import EMITTER, structured_data, whole

ENTERPRISE_NUMBER = 64999


async def test_each_event_reads_back_equal(tmp_path: Path) -> None:
    kind = EventType.SECURITY_VIOLATION
    sent = [hostile(kind, text, *FIELDS) for text in [*FORGED, *NASTY, "\ud83d\ude00 é", "x" * 2000]]
    with running(syslog_ng(tmp_path)) as child:
        options = {"format": "rfc5424", "enterprise_number": ENTERPRISE_NUMBER}
        async with made("syslog", child.port, tmp_path, **options) as exporter:
            await exporter.export(sent)
            await until(lambda: len(child.received()) >= len(sent))
        found = [record for _, record in child.received()]
    assert len(found) == len(sent)
    for event, record in zip(sent, found, strict=True):
        check(event, record)


def check(event: SecurityAuditEvent, record: dict[str, Any]) -> None:
    assert record["_SDATA"] == {f"container-kit@{ENTERPRISE_NUMBER}": structured_data(event)}
    assert datetime.fromisoformat(record["ISODATE"]).astimezone(UTC) == event.timestamp
    header = {name: record[name] for name in ("HOST", "PROGRAM", "MSGID", "FACILITY", "PRIORITY")}
    assert header == {
        "HOST": EMITTER.hostname,
        "PROGRAM": "container-kitd",
        "MSGID": event.event_type.value,
        "FACILITY": "security",  # 13, as syslog-ng calls it
        "PRIORITY": "err",
    }
    message = json.loads(record["MESSAGE"])
    if message.pop("truncated", False):
        assert (message["id"], len(message["sha256"])) == (event.id, 64)
    else:
        del message["timestamp"]
        assert message == whole(event)

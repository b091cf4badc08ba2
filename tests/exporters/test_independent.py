"""What syslog-ng and liblognorm read in our records is what the events say, whatever is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.audit.record import EventType
from daemon.findings import Severity
from tests.exporters import independent
from tests.exporters.hostile import FIELDS, FORGED, NASTY, hostile
from tests.exporters.running import Child

TEXTS = [*FORGED, *NASTY, "\ud83d\ude00 é", "a=b c=d", "\\=", "\\n", "x" * 2000]
EVENTS = [hostile(EventType.SECURITY_VIOLATION, text, *FIELDS) for text in TEXTS] + [
    hostile(kind, "x").model_copy(update={"severity": severity})
    for kind in EventType
    for severity in Severity
]


def test_each_event_reads_back_equal() -> None:
    assert list(independent.problems(EVENTS)) == []


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    read, sent = independent._read, EVENTS[-1]
    changed = sent.model_copy(update={"session_id": "another"})

    async def of_another(child: Child, form: str, kept: Any, _: Any, folder: Path) -> list[Any]:
        return await read(child, form, kept, [changed], folder)

    monkeypatch.setattr(independent, "_read", of_another)
    assert {name for _, name, _ in independent.problems([sent])} == set(independent.READERS)

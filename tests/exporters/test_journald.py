"""What a real journald stores of our events: its native protocol has room for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.audit.record import EventType
from daemon.errors import ExportError
from exporters.journald import MESSAGE_IDS
from tests.exporters.checks import wrong
from tests.exporters.hostile import FIELDS, FORGED, hostile
from tests.exporters.journal import Journal
from tests.exporters.running import event, made, running, until

pytestmark = pytest.mark.root


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    child = Journal(tmp_path)
    with running(child):
        yield child


async def test_each_event_is_an_entry_with_fields(journal: Journal, tmp_path: Path) -> None:
    texts = [*FORGED, "\nCONTAINER_KIT_SEQ=7\n", "\n_UID\n\1\0\0\0\0\0\0\0007\n"]
    sent = [hostile(EventType.SECURITY_VIOLATION, text, *FIELDS) for text in texts]
    sent = [e.model_copy(update={"seq": number}) for number, e in enumerate(sent, start=1)]
    async with made("journald", 0, tmp_path, socket=journal.socket) as exporter:
        await exporter.export(sent)
        await until(lambda: len(journal.entries()) >= len(sent))
    found = journal.entries(f"MESSAGE_ID={MESSAGE_IDS[EventType.SECURITY_VIOLATION]}", "PRIORITY=3")
    assert len(found) == len(journal.entries()) == len(sent)
    for one, entry in zip(sent, found, strict=True):
        assert list(wrong("plain", one, entry["MESSAGE"].encode())) == []
        assert entry["_UID"] == "0"  # the journal's own word on who sent it
        assert entry["CONTAINER_KIT_SEQ"] == str(one.seq)
        assert entry["CONTAINER_KIT_SESSION_ID"] == one.session_id.encode("utf-8", "replace").decode()


async def test_what_no_datagram_holds_is_passed_along_as_a_file(journal: Journal, tmp_path: Path) -> None:
    large = event(1, text="\n" * 1_000_000)
    async with made("journald", 0, tmp_path, socket=journal.socket) as exporter:
        await exporter.export([large])
        await until(lambda: len(journal.entries()) == 1)
    (entry,) = journal.entries()
    assert list(wrong("plain", large, entry["MESSAGE"].encode())) == []


async def test_without_a_journal_the_batch_is_not_taken(tmp_path: Path) -> None:
    async with made("journald", 0, tmp_path, socket=tmp_path / "none") as exporter:
        with pytest.raises(ExportError, match="none: No such file or directory"):
            await exporter.export([event()])

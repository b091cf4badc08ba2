"""The daemon's own audit log: sealed while it runs and at its end, whole after it was killed."""

from __future__ import annotations

import fcntl
import signal
import time
from pathlib import Path

import pytest

from daemon.audit.key import Verifier
from daemon.audit.verify import Verification, verify
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 30.0


def verified(running: Daemon) -> Verification:
    folder = running.state / "audit"
    return verify(folder / "audit.jsonl", Verifier.parse((folder / "key.pub").read_text()))


def test_it_is_sealed_every_second_and_to_the_last_line_at_the_end(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path) as running:
        running.run(image, "true")
        newest = len(running.events())
        deadline_s = time.monotonic() + DEADLINE_S
        while verified(running).sealed < newest:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    found = verified(running)
    assert found.problems == []
    assert found.lines == found.sealed + 1  # the last line is the checkpoint itself


def test_killed_it_goes_on_where_it_was(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, end=signal.SIGKILL) as running:
        running.run(image, "true")
    log = running.state / "audit/audit.jsonl"
    with log.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # its writing process outlives it until its last batch is written
        file.write(b'{"seq":')  # as a crash of the machine may leave it
    with daemon(tmp_path) as running:
        recovered = [e for e in running.events() if e["event_type"] == "AUDIT_RECOVERED"]
        assert [event["details"]["cut_bytes"] for event in recovered] == [7]
    assert verified(running).problems == []


def test_checkpoints_are_streamed_to_who_asks_for_them(tmp_path: Path) -> None:
    with daemon(tmp_path, end=signal.SIGKILL):
        time.sleep(2.5)
    with daemon(tmp_path) as running:
        time.sleep(1.5)
        asked = running.request("GET", "/v1/events?type=AUDIT_CHECKPOINT").body
        unasked = running.request("GET", "/v1/events").body
    assert b"event: AUDIT_CHECKPOINT" in asked
    assert b"event: AUDIT_CHECKPOINT" not in unasked


def test_it_goes_on_in_new_files_and_old_ones_are_retired(tmp_path: Path, image: str) -> None:
    """While it runs, and its own deletions are no tampering."""
    limits = 'audit_segment_size = "64k"\naudit_limit_size = "150k"\n'
    with daemon(tmp_path, limits) as running:
        log = running.state / "audit/audit.jsonl"
        deadline_s = time.monotonic() + DEADLINE_S
        while log.exists():
            assert time.monotonic() < deadline_s
            blocked = running.run(image, *["x" * 250] * 16, profile="default", runtime="none-such")
        assert running.run(image, "true")["exit_code"] == 0
        items = running.request("GET", "/v1/findings").json()["items"]
        assert [item for item in items if item["rule_id"] == "daemon-tampering"] == []
    assert blocked
    found = verified(running)
    assert found.problems == []
    assert found.retired > 0

"""The event stream: resumed without a gap, filtered, live, and let go of when its reader leaves."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.running import Daemon, UnixConnection, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Sent:
    """One server-sent event."""

    id: int | None
    kind: str
    data: Any


def parse(text: str) -> list[Sent]:
    sent = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if fields:
            number = int(fields["id"]) if "id" in fields else None
            sent.append(Sent(number, fields["event"], json.loads(fields["data"])))
    return sent


def events(running: Daemon, query: str = "", last: int | None = None) -> list[Sent]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    return parse(running.request("GET", f"/v1/events{query}", headers=headers).body.decode())


@contextmanager
def following(running: Daemon, last: int, query: str = "") -> Iterator[Iterator[Sent]]:
    connection = UnixConnection(running.socket, running.deadline_s)
    connection.request("GET", f"/v1/events?follow=true{query}", headers={"Last-Event-ID": str(last)})
    response = connection.getresponse()
    assert response.status == 200

    def read() -> Iterator[Sent]:
        while block := b"".join(iter(response.readline, b"\n")):
            yield from parse(block.decode())

    try:
        yield read()
    finally:
        response.close()
        connection.close()


def test_each_has_its_number_in_the_log_and_none_is_missing(running: Daemon, image: str) -> None:
    running.run(image, "true")
    assert [event.id for event in events(running)] == [event["seq"] for event in running.events()]


def test_a_reader_that_comes_back_misses_and_repeats_nothing(running: Daemon, image: str) -> None:
    running.run(image, "true")
    every = events(running)
    for read in (1, len(every) - 1, len(every)):
        assert events(running, last=every[read - 1].id) == every[read:]


def test_a_live_reader_gets_what_was_and_then_what_happens(running: Daemon, image: str) -> None:
    last = running.newest()
    running.run(image, "true", session_id="before")
    with following(running, last) as live:
        before = [next(live), next(live)]
        running.run(image, "true", session_id="after")
        after = [next(live), next(live)]
    kinds = ["EXECUTION_STARTED", "EXECUTION_FINISHED"]
    assert [(e.kind, e.data["session_id"]) for e in before] == [(kind, "before") for kind in kinds]
    assert [(e.kind, e.data["session_id"]) for e in after] == [(kind, "after") for kind in kinds]
    ids = [e.id for e in before + after]
    assert ids == sorted(ids)
    assert ids[0] > last


def test_it_is_filtered_by_session_type_and_severity(running: Daemon, image: str) -> None:
    last = running.newest()
    for session in ("one", "two"):
        running.run(image, "true", session_id=session)
        running.run(image, "true", session_id=session, privileged=True)

    def found(query: str) -> set[tuple[str, str]]:
        return {(event.data["session_id"], event.kind) for event in events(running, query, last)}

    assert {session for session, _ in found("?session=one")} >= {"one"}
    assert {session for session, _ in found("?session=one")} <= {"one"}
    assert {kind for _, kind in found("?type=EXECUTION_BLOCKED")} == {"EXECUTION_BLOCKED"}
    assert {kind for _, kind in found("?severity=high")} == {"EXECUTION_BLOCKED"}
    assert found("?session=one&type=EXECUTION_STARTED&severity=low") == {("one", "EXECUTION_STARTED")}
    assert found("?session=one&severity=critical") == set()
    with following(running, last, "&session=two&type=EXECUTION_FINISHED") as live:
        assert next(live).data["session_id"] == "two"


@pytest.mark.parametrize("query", ["type=NOPE", "severity=worst", "follow=yes"])
def test_a_filter_that_is_none_is_refused(running: Daemon, query: str) -> None:
    answer = running.request("GET", f"/v1/events?{query}")
    assert (answer.status, answer.json()["type"]) == (400, "/problems/invalid-query")


@pytest.mark.parametrize("last", ["x", "-1", "1.0", "9" * 19, "1" * 5000, "٣".encode().decode("latin-1")])
def test_a_position_that_is_none_is_refused(running: Daemon, last: str) -> None:
    answer = running.request("GET", "/v1/events", headers={"Last-Event-ID": last})
    assert (answer.status, answer.json()["type"]) == (400, "/problems/invalid-header")


def test_what_is_no_longer_remembered_is_said(tmp_path: Path, image: str) -> None:
    """After a restart the daemon remembers nothing of before; the audit log does, and numbers go on."""
    with daemon(tmp_path) as first:
        first.run(image, "true")
    last = (tmp_path / "state/audit/audit.jsonl").read_bytes().count(b"\n")
    with daemon(tmp_path) as second:
        _await(lambda: len(events(second)) > 1)  # it listens a moment before it has recorded its start
        gap, *rest = events(second)
        assert (gap.id, gap.kind, gap.data) == (None, "GAP", {"first": 1, "last": last})
        assert [event.id for event in rest] == [last + 1]
        assert events(second, last=last) == rest


def _open_requests(running: Daemon) -> int:
    text = running.request("GET", "/metrics").body.decode()
    found = re.search(r"^container_kit_requests_open(?:{.*})? (\S+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@pytest.mark.parametrize(
    "path", ["/v1/events?follow=true", "/v1/sandboxes/{id}/result", "/v1/sandboxes/{id}/logs?follow=true"]
)
def test_a_reader_that_leaves_is_let_go_of(running: Daemon, image: str, path: str) -> None:
    """Not only when something happens, which may be in a week."""
    sandbox = running.launch(image, "sleep", "60")
    _await(lambda: _open_requests(running) == 1)  # the one that asks
    clients = []
    for _ in range(5):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(running.socket))
        client.sendall(f"GET {path.format(id=sandbox['id'])} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        clients.append(client)
    _await(lambda: _open_requests(running) == 6)
    for client in clients:
        client.close()
    _await(lambda: _open_requests(running) == 1)
    running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def _await(condition: Any) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)

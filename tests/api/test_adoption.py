"""A daemon that is killed with SIGKILL leaves running sandboxes; the next one takes them over."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.running import Daemon, UnixConnection, daemon
from tests.telemetry.collector import Collector, over_http

pytestmark = [pytest.mark.root, pytest.mark.docker]

ATTACK = """
while [ ! -e go ]; do sleep 0.1; done
echo x > /proc/sys/kernel/core_pattern
sleep 60
"""


def launch(running: Daemon, image: str, *command: str, **options: Any) -> dict[str, Any]:
    body = {"image": image, "command": list(command), **options}
    launched: dict[str, Any] = running.request("POST", "/v1/sandboxes", body).json()
    return launched


def found(running: Daemon, sandbox_id: str) -> list[str]:
    items = running.request("GET", f"/v1/findings?sandbox={sandbox_id}").json()["items"]
    return [item["rule_id"] for item in items]


def await_true(question: Any, deadline_s: float = 15.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.1)


@pytest.fixture
def received() -> Iterator[Collector]:
    with over_http() as started:
        yield started


def test_sandboxes_are_adopted_and_what_they_do_then_is_found(
    tmp_path: Path, image: str, received: Collector
) -> None:
    config = f'[telemetry]\nendpoint = "{received.endpoint}"'
    with daemon(tmp_path, config, end=signal.SIGKILL) as first:
        sandbox = launch(first, image, "sh", "-c", ATTACK)
        ended = launch(first, image, "sleep", "0.2")
        time.sleep(0.5)
    with daemon(tmp_path, config) as second:
        path = f"/v1/sandboxes/{sandbox['id']}"
        shown = second.request("GET", path).json()
        assert (shown["state"], shown["container_id"]) == ("running", sandbox["container_id"])
        assert second.request("GET", f"/v1/sandboxes/{ended['id']}").status == 404
        adopted = [e for e in second.events() if e["event_type"] == "SANDBOX_ADOPTED"]
        assert [e["sandbox_id"] for e in adopted] == [sandbox["id"]]
        assert "unwatched_since" in adopted[0]["details"]
        assert second.request("PUT", f"{path}/files/go", b"").status == 204
        await_true(lambda: "core-pattern" in found(second, sandbox["id"]))
        assert second.request("POST", f"{path}/kill").status == 200
        assert second.request("GET", f"{path}/result").json()["signal"] == 9
    launch_span, trace = adopted[0]["span_id"], adopted[0]["trace_id"]
    assert trace in [e["trace_id"] for e in second.events() if e["event_type"] == "EXECUTION_STARTED"]
    goes_on = {span.name for span in received.spans if span.parent_span_id.hex() == launch_span}
    assert {"sandbox.run", "sandbox.collect"} <= goes_on
    left = ["docker", "ps", "-aq", "--filter", f"id={sandbox['container_id']}"]
    assert subprocess.run(left, capture_output=True, text=True, check=True).stdout == ""


def test_what_is_written_meanwhile_is_not_lost(tmp_path: Path, image: str) -> None:
    script = "echo before; sleep 1; seq 100000; echo last"
    with daemon(tmp_path, end=signal.SIGKILL) as first:
        sandbox = launch(first, image, "sh", "-c", script)
        logs = f"/v1/sandboxes/{sandbox['id']}/logs"
        await_true(lambda: "before" in first.request("GET", logs).body.decode())
    time.sleep(1.5)
    with daemon(tmp_path) as second:
        result = second.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
        assert result["stdout"].split() == [*map(str, range(1, 100_001)), "last"]


@pytest.mark.parametrize("after_ms", [30, 50, 65, 80])
def test_killed_in_the_midst_of_a_launch_it_leaves_none_that_never_ends(
    tmp_path: Path, image: str, after_ms: int
) -> None:
    """With its go it is taken over, without it is ended: none waits for a go that nobody gives."""
    body = {"image": image, "command": ["sleep", "1"]}
    with (
        daemon(tmp_path, end=signal.SIGKILL) as first,
        closing(UnixConnection(first.socket, first.deadline_s)) as client,
    ):
        client.request("POST", "/v1/sandboxes", json.dumps(body), {"Content-Type": "application/json"})
        time.sleep(after_ms / 1000)
    with daemon(tmp_path) as second:
        for sandbox in second.request("GET", "/v1/sandboxes").json()["items"]:
            result = second.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
            assert result["exit_code"] == 0
        await_true(lambda: second.containers() == 0)


def test_the_time_limit_counts_from_the_launch(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, end=signal.SIGKILL) as first:
        sandbox = launch(first, image, "sleep", "60", limits={"timeout_s": "6s"})
    with daemon(tmp_path) as second:
        started_s = time.monotonic()
        result = second.request("GET", f"/v1/sandboxes/{sandbox['id']}/result").json()
        assert result["timed_out"]
        assert time.monotonic() - started_s < 6


def test_a_record_that_was_changed_adopts_nothing(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path, end=signal.SIGKILL) as first:
        sandbox = launch(first, image, "sleep", "60")
    record = tmp_path / f"state/sandboxes/{sandbox['id']}.json"
    assert record.stat().st_mode & 0o777 == 0o600
    record.write_text(record.read_text().replace('"user":1000', '"user":1001'))
    with daemon(tmp_path) as second:
        assert second.request("GET", f"/v1/sandboxes/{sandbox['id']}").status == 404
        kinds = [e["event_type"] for e in second.events() if e.get("sandbox_id") == sandbox["id"]]
        assert kinds[-2:] == ["SECURITY_VIOLATION", "EXECUTION_FAILED"]

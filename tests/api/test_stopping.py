"""The daemon's end: in time, whatever is under way, and with all its sandboxes."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.sandbox.ending import MESSAGE
from tests.engine_proxy import engine_proxy
from tests.running import Daemon, daemon, process_of

pytestmark = [pytest.mark.root, pytest.mark.docker]

LIMIT_S = 20.0
"""Less than its unit's TimeoutStopSec."""
ENDS = {"EXECUTION_FINISHED", "EXECUTION_FAILED"}


def of_type(running: Daemon, *event_types: str) -> dict[str, Any]:
    """The details by sandbox."""
    events = running.events()
    return {e["sandbox_id"]: e["details"] for e in events if e["event_type"] in event_types}


def test_launches_that_are_under_way_get_no_go_or_are_ended(tmp_path: Path, image: str) -> None:
    answers: list[Any] = []
    stopped = threading.Event()

    def launch_again_and_again(running: Daemon) -> None:
        with suppress(OSError, json.JSONDecodeError):  # nobody listens any more
            while not stopped.is_set():
                answers.append(running.run(image, "sleep", "60"))

    with daemon(tmp_path) as running:
        threads = [threading.Thread(target=launch_again_and_again, args=(running,)) for _ in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.03)
        while not running.request("GET", "/v1/sandboxes").json()["items"]:
            time.sleep(0.01)
        end_s = time.monotonic() + LIMIT_S
    assert time.monotonic() < end_s
    stopped.set()
    for thread in threads:
        thread.join()
    started, ended = of_type(running, "EXECUTION_STARTED"), of_type(running, *ENDS)
    assert started.keys() == ended.keys()
    assert "Traceback" not in (tmp_path / "daemon.log").read_text()
    said = {answer.get("message", answer.get("type")) for answer in answers}
    assert said <= {MESSAGE, "/problems/stopping"}
    assert MESSAGE in said


def test_a_paused_one_is_ended(tmp_path: Path, image: str) -> None:
    with daemon(tmp_path) as running:
        sandbox = running.launch(image, "sleep", "60")
        assert running.request("POST", f"/v1/sandboxes/{sandbox['id']}/pause").status == 200
        end_s = time.monotonic() + LIMIT_S
    assert time.monotonic() < end_s
    assert of_type(running, *ENDS)[sandbox["id"]]["message"] == MESSAGE


def test_one_is_ended_without_the_engine(tmp_path: Path, image: str) -> None:
    """Its container is removed at the next start."""
    with engine_proxy(tmp_path) as proxy:
        config = f'engine_socket = "{proxy.path}"'
        with daemon(tmp_path, config, leaving=1) as running:
            sandbox = running.launch(image, "sleep", "60")
            process = process_of(sandbox["container_id"])
            proxy.cut()
            end_s = time.monotonic() + LIMIT_S
        assert time.monotonic() < end_s
        assert not process.exists()
        proxy.mend()
        with daemon(tmp_path, config) as again:
            assert again.containers() == 0

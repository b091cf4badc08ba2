"""Through the real daemon: refused launches become an alert of a command, shown by API, CLI and metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import ROOT
from tests.conftest import OTHER_RULES, OTHER_UID
from tests.ports import free_port
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]
SCRIPT = """#!/bin/sh
cat >>"$1"
echo >&2 "$(id -u) $#"
"""


def until(condition: Callable[[], bool], deadline_s: float = 40) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def value(metrics: str, series: str) -> float:
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(series))


@pytest.fixture(scope="module")
def alerting() -> Iterator[tuple[Daemon, Path]]:
    with tempfile.TemporaryDirectory(prefix="container-kit-test-") as name:
        folder = Path(name)
        script, pages = folder / "page", folder / "pages"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        pages.touch()
        pages.chmod(0o666)
        config = f"""
[[alerts]]
name = "refusals"
minimum_severity = "low"
event_types = ["EXECUTION_BLOCKED"]
by = "host"
at_least = 2
quiet_s = 2
channels = ["page", "hook"]

[[alerts]]
name = "channels"
event_types = ["EXPORTER_FAILED"]
channels = ["page"]

[[alert_channels]]
name = "page"
kind = "command"
argv = ["{script}", "{pages}"]

[[alert_channels]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{free_port()}/"
{OTHER_RULES}
"""
        with daemon(folder, config) as started:
            yield started, pages


def firing_now(running: Daemon) -> dict[str, tuple[list[str], list[str]]]:
    """By rule: the channels that were told, and those that wait."""
    firing = running.request("GET", "/v1/alerts").json()["firing"]
    return {one["alert"]: (one["told"], one["waiting"]) for one in firing}


def test_from_a_refused_launch_to_a_command(alerting: tuple[Daemon, Path], image: str) -> None:
    running, pages = alerting

    def paged() -> list[Any]:
        return [json.loads(line) for line in pages.read_text().splitlines()]

    def told(alert: str, status: str) -> list[Any]:
        return [one for one in paged() if (one["alert"], one["status"]) == (alert, status)]

    for _ in range(3):
        assert running.run(image, "true", mounts=["/var/run/docker.sock:/s"])["status"] in {403, 422}
        assert running.run(image, "true", privileged=True)["status"] in {403, 422}
    until(lambda: "hook" in firing_now(running).get("refusals", ([], []))[1])  # until it is quiet again
    until(lambda: bool(told("refusals", "firing")))
    (firing,) = told("refusals", "firing")
    assert firing["event"]["event_type"] == "EXECUTION_BLOCKED"
    assert firing["count"] == 2
    until(lambda: bool(told("channels", "firing")))  # of the web hook that nobody answers
    until(lambda: bool(told("refusals", "resolved")))
    assert told("refusals", "resolved")[0]["alert_id"] == firing["alert_id"]

    shown = running.request("GET", "/v1/alerts").json()
    assert [rule["name"] for rule in shown["rules"]] == ["refusals", "channels"]
    by_name = {channel["name"]: channel for channel in shown["channels"]}
    assert by_name["page"]["problem"] == ""
    assert by_name["hook"]["status"] == "failing"
    assert "no answer" in by_name["hook"]["problem"]
    assert firing_now(running)["channels"] == (["page"], [])
    failures = [one["details"] for one in running.events() if one["event_type"] == "EXPORTER_FAILED"]
    assert [failure["alert_channel"] for failure in failures] == ["hook"]

    def metric(start: str) -> float:
        return value(running.request("GET", "/metrics").body.decode(), start)

    assert metric('container_kit_alert_channel_failing{channel="hook"') == 1
    assert metric('container_kit_alert_channel_failing{channel="page"') == 0
    # Counted once the command has ended, which has written its line before.
    until(lambda: metric('container_kit_alerts_told_total{alert="refusals",channel="page"') == 2)


def test_the_command_line_shows_it_and_fails_with_a_channel(alerting: tuple[Daemon, Path]) -> None:
    running, _ = alerting
    program = [sys.executable, "-c", "from daemon.cli import main; main()"]
    command = [*program, "--socket", str(running.socket), "alerts"]
    environment = {"PATH": os.environ["PATH"]}
    until(lambda: b"failing" in running.request("GET", "/v1/alerts").body)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "2 in 60 s, by host" in done.stdout, done.stdout
    assert "failing" in done.stdout
    done = subprocess.run(
        [*command, "--json"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout).keys() == running.request("GET", "/v1/alerts").json().keys()


def test_it_is_for_administrators(alerting: tuple[Daemon, Path]) -> None:
    running, _ = alerting
    answer = running.request_as(OTHER_UID, "GET", "/v1/alerts")
    assert (answer.status, answer.json()["type"]) == (403, "/problems/administrators-only")
    denied = [one for one in running.events() if one["event_type"] == "ACCESS_DENIED"]
    assert denied[-1]["actor"]["uid"] == OTHER_UID

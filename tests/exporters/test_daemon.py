"""Of a real daemon: what API and client say of an exporter that delivers and of one that cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main
from tests.alerts.test_daemon import until
from tests.conftest import OTHER_RULES, OTHER_UID
from tests.ports import free_port
from tests.running import Daemon, daemon, open_folder

pytestmark = [pytest.mark.root, pytest.mark.docker]


def exporters(folder: Path) -> str:
    return f"""
[[exporters]]
name = "kept"
kind = "file"
path = "{folder}/kept"

[[exporters]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{free_port()}/"
"""


@pytest.fixture(scope="module")
def exporting() -> Iterator[Daemon]:
    """To a file, and to a web hook that nobody answers."""
    with open_folder() as folder, daemon(folder, exporters(folder) + OTHER_RULES) as running:
        until(lambda: settled(**listed(running)))
        yield running


def listed(running: Daemon) -> dict[str, Any]:
    return {one["name"]: one for one in running.request("GET", "/v1/exporters").json()["items"]}


def settled(kept: Any, hook: Any) -> bool:
    return kept["cursor"] > 0 and hook["status"] == "failing"


def call(running: Daemon, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--socket", str(running.socket), "exporters", *arguments])


def test_how_far_each_is_and_what_is_wrong(exporting: Daemon) -> None:
    kept, hook = listed(exporting)["kept"], listed(exporting)["hook"]
    assert (kept["kind"], kept["problem"], kept["failing_since"]) == ("file", "", None)
    assert kept["delivered"] > 0
    assert (hook["kind"], hook["delivered"], hook["cursor"]) == ("webhook", 0, 0)
    assert "no answer" in hook["problem"]
    assert hook["lag_events"] > 0
    assert hook["failing_since"] is not None


def test_the_client_shows_it_and_fails_with_one(exporting: Daemon) -> None:
    shown = call(exporting)
    assert shown.exit_code == 1
    header, *rows = (line.split() for line in shown.stdout.splitlines())
    assert header[:4] == ["NAME", "KIND", "STATUS", "CURSOR"]
    assert [row[:2] for row in rows] == [["kept", "file"], ["hook", "webhook"]]
    assert (rows[0][2] in {"idle", "delivering"}, rows[1][2]) == (True, "failing")
    as_json = call(exporting, "--json")
    assert as_json.exit_code == 1
    assert [one["name"] for one in json.loads(as_json.stdout)] == ["kept", "hook"]


def test_the_receivers_words_are_for_administrators(exporting: Daemon) -> None:
    items = exporting.request_as(OTHER_UID, "GET", "/v1/exporters").json()["items"]
    assert [(one["name"], one["problem"]) for one in items] == [("kept", ""), ("hook", "")]


def test_where_there_is_none_nothing_fails(running: Daemon) -> None:
    assert (call(running).exit_code, call(running, "--json").stdout) == (0, "[]\n")

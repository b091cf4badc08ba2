"""A busy loop at its CPU limit: reported after ten seconds of running, ended where the profile says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon import PROFILES
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

LOOP = "timeout -s KILL 14 sh -c 'while :; do :; done'; echo the loop ended"


def of_profile(answer: str) -> str:
    text = (PROFILES / "strict.toml").read_text().replace('name = "strict"', f'name = "{answer}"')
    return text.replace('[on_throttling]\nvalue = "alert"', f'[on_throttling]\nvalue = "{answer}"')


def result_of(running: Daemon, launched: Any) -> tuple[Any, list[str]]:
    """And the kinds of limits that were reported of it."""
    result = running.request("GET", f"/v1/sandboxes/{launched['id']}/result").json()
    events = [e for e in running.events() if e["event_type"] == "RESOURCE_LIMIT_EXCEEDED"]
    return result, [e["details"]["kind"] for e in events if e["sandbox_id"] == launched["id"]]


def test_a_busy_loop_is_reported_and_ended_by_the_profile(tmp_path: Path, image: str) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    for answer in ("alert", "kill"):
        (folder / f"{answer}.toml").write_text(of_profile(answer))
    limits = {"cpus": 0.1, "timeout_s": "60s"}
    with daemon(tmp_path, f'profile_dirs = ["{PROFILES}", "{folder}"]\n') as running:
        launched = {
            p: running.launch(image, "sh", "-c", LOOP, profile=p, limits=limits) for p in ("alert", "kill")
        }
        told, reported = result_of(running, launched["alert"])
        assert (told["killed"], told["stdout"], reported) == (False, "the loop ended\n", ["cpu"])
        ended, reported = result_of(running, launched["kill"])
        assert (ended["killed"], ended["stdout"], reported) == (True, "", ["cpu"])
        assert ended["message"] == "container killed: CPU limit held for too long"

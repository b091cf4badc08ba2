"""A busy loop at its CPU limit: reported after ten seconds of running, ended where the profile says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from daemon import PROFILES
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

LOOP = "while :; do :; done"
MESSAGE = "container killed: CPU limit held for too long"
DEADLINE_S = 50.0


def of_profile(answer: str) -> str:
    text = (PROFILES / "strict.toml").read_text().replace('name = "strict"', f'name = "{answer}"')
    return text.replace('[on_throttling]\nvalue = "alert"', f'[on_throttling]\nvalue = "{answer}"')


def reported(running: Daemon, sandbox: str) -> list[str]:
    """The kinds of limits that were reported of it."""
    events = [e for e in running.events() if e["event_type"] == "RESOURCE_LIMIT_EXCEEDED"]
    return [e["details"]["kind"] for e in events if e["sandbox_id"] == sandbox]


def test_a_busy_loop_is_reported_and_ended_by_the_profile(tmp_path: Path, image: str) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    for answer in ("alert", "kill"):
        (folder / f"{answer}.toml").write_text(of_profile(answer))
    limits = {"cpus": 0.1, "timeout_s": "120s"}
    with daemon(tmp_path, f'profile_dirs = ["{PROFILES}", "{folder}"]\n') as running:
        told, ended = (
            running.launch(image, "sh", "-c", LOOP, profile=p, limits=limits)["id"] for p in ("alert", "kill")
        )
        result = running.request("GET", f"/v1/sandboxes/{ended}/result").json()
        assert (result["killed"], result["message"]) == (
            True,
            "container killed: CPU limit held for too long",
        )
        assert reported(running, ended) == ["cpu"]
        end_s = time.monotonic() + DEADLINE_S
        while not reported(running, told):
            assert time.monotonic() < end_s
            time.sleep(0.1)
        assert reported(running, told) == ["cpu"]
        assert running.request("GET", f"/v1/sandboxes/{told}").json()["state"] == "running"

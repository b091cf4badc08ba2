"""A container that ran before the daemon is no suspect, however many of its processes come and go."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.bpf]

BUSY = "for i in 1 2 3; do while :; do /bin/busybox true; done & done; sleep 300"
DEADLINE_S = 30.0


@pytest.fixture
def busy(image: str) -> Iterator[str]:
    run = ["docker", "run", "-d", "--network=none", image, "sh", "-c", BUSY]
    container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    yield container
    subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)


def rules(running: Daemon, container: str) -> list[str]:
    found = running.request("GET", f"/v1/findings?container={container}").json()["items"]
    return [one["rule_id"] for one in found]


@pytest.mark.parametrize("without_bpf", [False, True])
def test_a_busy_one_gives_no_finding_and_is_watched(tmp_path: Path, busy: str, without_bpf: bool) -> None:
    """Some of its processes are just ending as they are found. What is told is that we came in."""
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with daemon(folder, 'watch = "all"\n', without_bpf=without_bpf) as running:
            end_s = time.monotonic() + DEADLINE_S
            while not rules(running, busy):
                assert time.monotonic() < end_s
                subprocess.run(["docker", "exec", busy, "true"], check=True)
            assert rules(running, busy) == ["second-entry"]

"""A collector that hangs costs no launch, and no end of the daemon; what it did not take is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.running import daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_a_hung_collector_costs_nothing_and_its_losses_are_told(tmp_path: Path, image: str) -> None:
    """It takes connections and says nothing: the worst that a receiver can do."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        config = f'[telemetry]\nendpoint = "http://127.0.0.1:{silent.getsockname()[1]}"\ninterval_s = 1\n'
        with daemon(tmp_path, config + "timeout_s = 60") as started:
            assert started.run(image, "echo", "hi")["stdout"] == "hi\n"
            assert started.request("GET", "/metrics").status == 200
    lost = [line for line in (tmp_path / "daemon.log").read_text().splitlines() if "telemetry lost" in line]
    assert len(lost) == 2  # of traces and of metrics
    assert all("shutdown" in line for line in lost)

"""One daemon that tells one receiver, and what was launched by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Daemon, daemon
from tests.telemetry.collector import Collector, over_http
from tests.telemetry.launches import launch_all


@pytest.fixture(scope="package")
def received() -> Iterator[Collector]:
    with over_http() as started:
        yield started


@pytest.fixture(scope="package")
def traced(received: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("traced")
    config = f'''
[telemetry]
endpoint = "{received.endpoint}"
interval_s = 1

[[exporters]]
name = "file"
kind = "file"
path = "{folder}/exported"

[[alerts]]
name = "breakout"
minimum_severity = "critical"
channels = ["nobody"]

[[alert_channels]]
name = "nobody"
kind = "command"
argv = ["/bin/true"]
'''
    with daemon(folder, config) as started:
        yield started


@pytest.fixture(scope="package")
def launches(traced: Daemon, image: str) -> None:
    """All at once, so that what they tell comes at once."""
    launch_all(traced, image)

"""The metrics of a real daemon, as an OTLP receiver gets them and as /metrics shows them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from daemon import ROOT
from tests.running import Daemon
from tests.telemetry.collector import Collector

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("launches")]
DOCUMENTED = {
    line.split("`")[1]
    for line in (ROOT / "docs/telemetry.md").read_text().splitlines()
    if line.startswith("| `container_kit_")
}


def value(points: list[dict[str, Any]], **labels: str) -> float:
    return sum(point["value"] for point in points if labels.items() <= point.items())


@pytest.mark.parametrize(
    ("name", "labels", "at_least"),
    [
        ("launches", {"outcome": "started"}, 5),
        ("launches", {"outcome": "blocked"}, 1),
        ("launches_blocked", {"reason": "privileged"}, 1),
        ("sandboxes_ended", {"end": "exited"}, 5),
        ("sandboxes_cpu", {}, 0.001),
        ("sandbox_phase", {"phase": "attest"}, 5),
        ("audit_commit", {}, 5),
        ("audit_events", {"type": "EXECUTION_STARTED"}, 5),
        ("findings", {}, 1),
        ("sensor_running", {"sensor": "ebpf"}, 1),
        ("telemetry_sent", {"signal": "traces"}, 5),
    ],
)
def test_metrics_come_by_otlp(
    received: Collector, name: str, labels: dict[str, str], at_least: float
) -> None:
    received.points(f"container_kit_{name}", lambda points: value(points, **labels) >= at_least)


def test_what_is_known_beforehand_is_there_at_0(traced: Daemon, received: Collector) -> None:
    ends = received.points("container_kit_sandboxes_ended", bool)
    assert {point["end"] for point in ends} == {"exited", "oom_killed", "timed_out", "killed", "lost"}
    dropped = received.points("container_kit_telemetry_dropped", bool)
    assert {(point["signal"], point["reason"]): point["value"] for point in dropped} == {
        (signal, reason): 0
        for signal in ("traces", "metrics")
        for reason in ("queue_full", "refused", "shutdown")
    }


def test_usage_is_of_all_that_run(traced: Daemon, received: Collector, image: str) -> None:
    sandbox_id = traced.launch(image, "sleep", "60")["id"]
    received.points("container_kit_sandboxes_running", lambda points: value(points) == 1)
    received.points("container_kit_sandboxes_memory", lambda points: value(points) > 0)
    received.points("container_kit_sandboxes_processes", lambda points: value(points) >= 1)
    traced.request("POST", f"/v1/sandboxes/{sandbox_id}/kill")
    received.points("container_kit_sandboxes_ended", lambda points: value(points, end="killed") == 1)
    received.points("container_kit_sandboxes_memory", lambda points: value(points) == 0)


def test_each_metric_is_documented(traced: Daemon) -> None:
    text = traced.request("GET", "/metrics").body.decode()
    served = set(re.findall(r"^# TYPE (container_kit_\w+) ", text, re.MULTILINE))
    assert served == DOCUMENTED

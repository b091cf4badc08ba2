"""The Prometheus alert rules: promtool's own check, and each metric that they name is one of /metrics."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daemon.audit.record import EventType
from daemon.events import Tier
from daemon.findings import Severity
from daemon.metrics import Metrics
from daemon.sandbox.sandbox import Registry
from daemon.sensing import Health

RULES = Path(__file__).parents[2] / "exporters/dashboards/container-kit.rules.yaml"


def names_of_metrics() -> set[str]:
    state = SimpleNamespace(name="x", problem="", delivered=0, refused=0, missed=0, errors=0)
    guard: Any = SimpleNamespace(
        sensing=SimpleNamespace(lost={"ebpf.ring": 1}, health={"ebpf": Health(Tier.EBPF)}),
        pipeline=SimpleNamespace(events_seen=0, dropped=0, failures={"d": 0}, names_of_detectors=["d"]),
        responder=SimpleNamespace(dropped=0),
    )
    deliveries: Any = [SimpleNamespace(lag_events=0, lag_s=0.0, state=state)]
    metrics = Metrics(Registry(1))
    try:
        metrics.watch(guard)
        metrics.observe(deliveries)
        metrics.committed(0.01)
        finding: Any = SimpleNamespace(
            event_type=EventType.SECURITY_VIOLATION, severity=Severity.CRITICAL, details={"rule_id": "r"}
        )
        metrics.count(finding)
        return set(re.findall(r"^(container_kit_\w+)", metrics.text(), re.MULTILINE))
    finally:
        metrics.close()


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 rules found" in done.stdout


def test_the_rules_fire_and_rest_as_meant() -> None:
    cases = Path(__file__).with_name("prometheus_rules_test.yaml")
    done = subprocess.run(
        ["promtool", "test", "rules", str(cases)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_metric_of_the_rules_is_served() -> None:
    named = set(re.findall(r"container_kit_\w+", RULES.read_text()))
    assert len(named) >= 8
    assert named <= names_of_metrics()

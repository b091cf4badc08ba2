"""Prometheus rules and the Grafana dashboard: promtool, a schema, and each metric is one of /metrics."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from daemon.audit.record import EventType
from daemon.events import Tier
from daemon.findings import Severity
from daemon.metrics import Metrics
from daemon.sandbox.sandbox import Registry
from daemon.sensing import Health

RULES = Path(__file__).parents[2] / "exporters/dashboards/container-kit.rules.yaml"

DASHBOARD = RULES.with_name("container-kit.json")
TARGET = {
    "type": "object",
    "required": ["refId", "expr", "datasource"],
    "properties": {"expr": {"type": "string", "minLength": 1}},
}
PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos", "datasource", "targets"],
    "properties": {
        "gridPos": {"type": "object", "required": ["h", "w", "x", "y"]},
        "targets": {"type": "array", "minItems": 1, "items": TARGET},
    },
}
# What Grafana needs to import a dashboard and to draw it.
SCHEMA = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40},
        "schemaVersion": {"type": "integer"},
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
    },
}


def names_of_metrics() -> set[str]:
    state = SimpleNamespace(name="x", problem="", delivered=0, refused=0, missed=0, errors=0)
    guard: Any = SimpleNamespace(
        sensing=SimpleNamespace(lost={"ebpf.ring": 1}, health={"ebpf": Health(Tier.EBPF)}),
        pipeline=SimpleNamespace(events_seen=0, dropped=0, failures={"d": 0}, names_of_detectors=["d"]),
        responder=SimpleNamespace(dropped=0),
    )
    deliveries: Any = [SimpleNamespace(lag_events=0, lag_s=0.0, state=state)]
    line: Any = SimpleNamespace(
        name="x", delivery=deliveries[0], alerting=SimpleNamespace(refusals=0, evaluations=[])
    )
    metrics = Metrics(Registry(1))
    try:
        metrics.watch(guard)
        metrics.observe(deliveries)
        metrics.observe_alerts([line])
        metrics.committed(0.01)
        finding: Any = SimpleNamespace(
            event_type=EventType.SECURITY_VIOLATION,
            severity=Severity.CRITICAL,
            details={"rule_id": "r", "durations_ms": {"run": 1}},
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
    assert "9 rules found" in done.stdout


def test_the_rules_fire_and_rest_as_meant() -> None:
    cases = Path(__file__).with_name("prometheus_rules_test.yaml")
    done = subprocess.run(
        ["promtool", "test", "rules", str(cases)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_can_draw() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    jsonschema.validate(dashboard, SCHEMA)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_each_metric_that_is_named_is_served(file: Path) -> None:
    named = set(re.findall(r"container_kit_\w+", file.read_text()))
    assert len(named) >= 8
    assert named <= names_of_metrics()

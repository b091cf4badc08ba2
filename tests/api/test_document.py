"""Health, metrics and the OpenAPI document."""

from __future__ import annotations

import re

import pytest

from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


def test_health_and_readiness(running: Daemon) -> None:
    assert running.request("GET", "/healthz").json()["status"] == "ok"
    assert running.request("GET", "/readyz").json()["ready"] is True


def test_every_counter_exists_from_the_start(running: Daemon) -> None:
    text = running.request("GET", "/metrics").body.decode()
    assert re.search(r'^container_kit_audit_events_total{.*type="AUDIT_RETIRED"} 0.0$', text, re.MULTILINE)


@pytest.mark.parametrize(
    "series",
    [
        r'sensor_running{.*sensor="ebpf",tier="ebpf"} 1.0',
        r"sensor_events_total{.*} [0-9.e+]+",
        r'sensor_lost_total{.*sensor="ebpf"} [0-9.]+',
        r"findings_unaudited_total{.*} 0.0",
        r'detector_failures_total{detector="detectors.process.[a-z_.]+[A-Za-z]+".*} 0.0',
        r'audit_commit_seconds_bucket{.*le="0.005".*} [0-9.]+',
    ],
)
def test_what_the_sensors_see_and_the_disk_takes_is_measured(running: Daemon, series: str) -> None:
    text = running.request("GET", "/metrics").body.decode()
    assert re.search(rf"^container_kit_{series}$", text, re.MULTILINE), text


def test_phases_and_findings_are_counted(running: Daemon, image: str) -> None:
    running.run(image, "cat", "/proc/1/environ", profile="strict")
    text = running.request("GET", "/metrics").body.decode()
    for series in ('sandbox_phase_seconds_count{.*phase="attest"}', 'findings_total{.*rule="[a-z-]+".*}'):
        assert re.search(rf"^container_kit_{series} [0-9.]+$", text, re.MULTILINE), text


def test_the_document_names_every_route_and_model(running: Daemon) -> None:
    document = running.request("GET", "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert {"/v1/sandboxes", "/v1/sandboxes/{id}/files/{path}", "/v1/events"} <= document["paths"].keys()
    options = document["components"]["schemas"]["SandboxOptions"]
    assert options["additionalProperties"] is False


def test_events_can_be_read_from_a_position(running: Daemon) -> None:
    every = running.request("GET", "/v1/events").body.decode()
    assert every.startswith("id: 1\nevent: DAEMON_STARTED\n")
    later = running.request("GET", "/v1/events", headers={"Last-Event-ID": "1"}).body.decode()
    assert "id: 1\n" not in later


def test_an_unknown_route_is_a_problem(running: Daemon) -> None:
    answer = running.request("GET", "/nope")
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")

"""The spans of real launches, as an OTLP receiver gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import (
    container_attributes,
    process_attributes,
    security_rule_attributes,
    user_attributes,
)
from opentelemetry.semconv.attributes import error_attributes, http_attributes, network_attributes

from daemon import ROOT
from tests.running import Daemon
from tests.telemetry.collector import Collector, attributes
from tests.telemetry.launches import AGAIN, CHATTY, FAILED, FIRST, HOSTILE, PARENT, REFUSED

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("launches")]
DOCUMENT = (ROOT / "docs/telemetry.md").read_text()
SPANS = {"sandbox.validate", "sandbox.create", "sandbox.run", "sandbox.violation"}
PHASES = {"sandbox.image", "sandbox.image.judge", "sandbox.validate", "sandbox.create", "sandbox.start"}
PHASES |= {"sandbox.attest", "sandbox.run", "sandbox.collect"}


def named(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def collected(spans: list[Span]) -> bool:
    return {"sandbox.collect", "POST /v1/sandboxes"} <= {span.name for span in spans}


def test_a_launch_is_one_tree_in_the_callers_trace(received: Collector) -> None:
    spans = received.trace(FIRST, collected)
    root = named(spans, "POST /v1/sandboxes")
    assert (root.parent_span_id.hex(), root.kind) == (PARENT, Span.SPAN_KIND_SERVER)
    assert {span.name for span in spans if span.parent_span_id == root.span_id} == PHASES
    checks = {span.name for span in spans if span.parent_span_id == named(spans, "sandbox.validate").span_id}
    assert {"sandbox.check mounts", "sandbox.check seccomp", "sandbox.check engine.runc"} <= checks
    starts = [named(spans, f"sandbox.{name}").start_time_unix_nano for name in ("validate", "create", "run")]
    assert starts == sorted(starts)
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


def test_a_remembered_image_is_confirmed_beside_the_start(received: Collector) -> None:
    spans = received.trace(AGAIN, collected)
    confirmed = named(spans, "sandbox.image.confirm")
    assert confirmed.parent_span_id == named(spans, "sandbox.start").span_id
    assert "sandbox.image" not in {span.name for span in spans}


def test_spans_say_what_ran_by_the_semantic_conventions(received: Collector, image: str) -> None:
    spans = received.trace(FAILED, collected)
    root, ran = attributes(named(spans, "POST /v1/sandboxes")), attributes(named(spans, "sandbox.run"))
    assert (root["http.response.status_code"], root["user.id"]) == (201, "0")
    assert root["container_kit.sandbox.id"] == ran["container_kit.sandbox.id"]
    assert ran["container.image.name"] == image
    assert ran["container.id"] == attributes(named(spans, "sandbox.create"))["container.id"]
    assert len(ran["container.id"]) == 64
    assert ran["container.image.id"].startswith("sha256:")
    assert ran["process.exit.code"] == 3
    assert attributes(named(spans, "sandbox.validate"))["container_kit.decision"] == "allowed"
    assert received.resources[0]["service.name"] == "container-kitd"


def test_audit_events_name_the_spans_that_they_happened_in(traced: Daemon, received: Collector) -> None:
    spans = received.trace(CHATTY, collected)
    by_id = {span.span_id.hex(): span.name for span in spans}
    events = [event for event in traced.events() if event.get("trace_id") == CHATTY]
    found = {event["event_type"]: by_id[event["span_id"]] for event in events}
    assert found == {
        "EXECUTION_STARTED": "sandbox.start",
        "RESOURCE_LIMIT_EXCEEDED": "sandbox.run",
        "EXECUTION_FINISHED": "sandbox.collect",
    }
    exceeded = [event for event in named(spans, "sandbox.run").events if event.name == "limit exceeded"]
    assert "output" in [attributes(event)["container_kit.limit.kind"] for event in exceeded]


def test_a_violation_is_a_span_linked_to_its_run(traced: Daemon, received: Collector) -> None:
    spans = received.trace(
        HOSTILE, lambda found: any(s.name == "sandbox.violation" for s in found) and collected(found)
    )
    violations, ran = (
        [span for span in spans if span.name == "sandbox.violation"],
        named(spans, "sandbox.run"),
    )
    for violation in violations:
        assert violation.parent_span_id == ran.span_id
        assert [link.span_id for link in violation.links] == [ran.span_id]
        assert violation.status.code == Status.STATUS_CODE_ERROR
        assert attributes(violation)["process.pid"] > 0
        assert attributes(violation)["container.id"] == attributes(ran)["container.id"]
        assert ran.start_time_unix_nano <= violation.start_time_unix_nano <= violation.end_time_unix_nano
    events = [event for event in traced.events() if event["event_type"] == "SECURITY_VIOLATION"]
    assert {e["span_id"]: e["details"]["rule_id"] for e in events if e.get("trace_id") == HOSTILE} == {
        v.span_id.hex(): attributes(v)["security_rule.name"] for v in violations
    }


def test_a_blocked_launch_is_a_trace_that_says_why(traced: Daemon, received: Collector) -> None:
    spans = received.trace(REFUSED, lambda found: any(s.parent_span_id.hex() == PARENT for s in found))
    root = named(spans, "POST /v1/sandboxes")
    assert attributes(root)["error.type"] == "ExecutionBlocked"
    assert attributes(root)["http.response.status_code"] == 403
    assert root.status.code == Status.STATUS_CODE_UNSET
    judged = [attributes(span) for span in spans if span.name == "sandbox.validate"]
    assert judged  # twice: what an image that was remembered is refused for may no longer be so
    for verdict in judged:
        assert verdict["container_kit.decision"] == "blocked"
        assert "privileged" in verdict["container_kit.threats"]
    (event,) = [event for event in traced.events() if event.get("trace_id") == REFUSED]
    assert event["span_id"] == root.span_id.hex()


def test_each_attribute_is_documented(received: Collector) -> None:
    """And sent: what the document names and nobody says would be a lie."""
    received.trace(HOSTILE, lambda found: any(s.name == "sandbox.violation" for s in found))
    sent = {name for span in received.spans for name in attributes(span)} - {"error.type"}
    table = DOCUMENT.partition("| span | attributes |")[2].partition("\n\n")[0]
    assert sent == {name for name in re.findall(r"`([a-z_.]+)`", table) if name not in SPANS}
    spans = DOCUMENT.partition("## A launch\n\n```")[2].partition("```")[0]
    assert {span.name.partition(" ")[0] for span in received.spans} <= {
        line.split()[0] for line in spans.splitlines() if line
    }


def test_names_are_of_the_semantic_conventions_or_ours(received: Collector) -> None:
    modules = (error_attributes, container_attributes, http_attributes, network_attributes)
    modules += (process_attributes, security_rule_attributes, user_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    received.trace(HOSTILE, lambda found: any(s.name == "sandbox.violation" for s in found))
    sent = {name for span in received.spans for name in attributes(span)}
    assert {name for name in sent if not name.startswith("container_kit.")} <= known


def test_without_a_callers_trace_a_launch_has_one_of_its_own(
    traced: Daemon, received: Collector, image: str
) -> None:
    sandbox = traced.launch(image, "true")
    spans = received.trace(sandbox["trace_id"], collected)
    assert named(spans, "POST /v1/sandboxes").parent_span_id == b""
    events = [event for event in traced.events() if event.get("sandbox_id") == sandbox["id"]]
    assert {event["trace_id"] for event in events} == {sandbox["trace_id"]}


def test_what_a_collector_refuses_is_counted(traced: Daemon, received: Collector, image: str) -> None:
    """The last one here: those spans are lost."""
    received.status = 400
    traced.launch(image, "true")
    try:
        refused = received.points("container_kit_telemetry_dropped", lambda points: lost(points) > 0)
    finally:
        received.status = 200
    assert {point["reason"] for point in refused if point["value"]} == {"refused"}


def lost(points: list[dict[str, Any]]) -> float:
    return sum(point["value"] for point in points if point["signal"] == "traces")

"""OpenTelemetry instruments, read by Prometheus at /metrics, and sent by OTLP where the settings want that.

Every series exists at 0 from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from daemon.alerts import instruments
from daemon.alerts.alerts import Line
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.delivery.delivery import Delivery
from daemon.guard import Guard
from daemon.sandbox.sandbox import Registry
from daemon.sensing import Health

PHASE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0, 600.0)
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    def __init__(
        self, registry: Registry, readers: Sequence[MetricReader] = (), resource: Resource | None = None
    ) -> None:
        """`readers` beside the one of Prometheus, and what they say that the metrics are of."""
        self._sandboxes = registry
        self._registry = CollectorRegistry()
        prometheus = PrometheusMetricReader(disable_target_info=True, registry=self._registry)
        self._provider = MeterProvider(
            [prometheus, *readers],
            resource=resource or Resource.create({"service.name": "container-kitd"}),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("container-kit")
        self._events = meter.create_counter(
            "container_kit_audit_events", description="durable audit events by type"
        )
        meter.create_observable_gauge("container_kit_sandboxes_running", [self._running])
        self._requests = meter.create_up_down_counter(
            "container_kit_requests_open", description="requests that are not answered in full yet"
        )
        self._requests.add(0)
        for event_type in EventType:
            self._events.add(0, {"type": event_type})
        self._commits = meter.create_histogram(
            "container_kit_audit_commit",
            unit="s",
            description="how long the disk took for a batch of events",
            explicit_bucket_boundaries_advisory=COMMIT_BUCKETS_S,
        )

        self._findings = meter.create_counter(
            "container_kit_findings", description="audited findings by rule; repetitions are not counted"
        )
        self._phases = meter.create_histogram(
            "container_kit_sandbox_phase",
            unit="s",
            description="how long each phase of a sandbox took, from validate to run",
            explicit_bucket_boundaries_advisory=PHASE_BUCKETS_S,
        )

    def committed(self, took_s: float) -> None:
        self._commits.record(took_s)

    def count(self, event: SecurityAuditEvent) -> None:
        self._events.add(1, {"type": event.event_type})
        if event.event_type is EventType.SECURITY_VIOLATION and "rule_id" in event.details:
            self._findings.add(1, {"rule": event.details["rule_id"], "severity": event.severity})
        for phase, took_ms in event.details.get("durations_ms", {}).items():
            self._phases.record(took_ms / 1000, {"phase": phase})

    def watch(self, guard: Guard) -> None:
        """What the sensors see and lose, and what was done with it."""
        meter = self._provider.get_meter("container-kit")
        sensing, pipeline, responder = guard.sensing, guard.pipeline, guard.responder
        counters: dict[str, Callable[[], Iterable[Observation]]] = {
            "sensor_events": lambda: [Observation(pipeline.events_seen)],
            "sensor_lost": lambda: [_lost(name, count) for name, count in sensing.lost.items()],
            "events_unjudged": lambda: [Observation(pipeline.dropped)],
            "findings_unaudited": lambda: [Observation(responder.dropped)],
            "detector_failures": lambda: [
                Observation(pipeline.failures[name], {"detector": name})
                for name in pipeline.names_of_detectors
            ],
        }
        for name, read in counters.items():
            meter.create_observable_counter(f"container_kit_{name}", [_read_by(read)])
        meter.create_observable_gauge(
            "container_kit_sensor_running",
            [_read_by(lambda: [_running(name, health) for name, health in sensing.health.items()])],
        )

    @contextmanager
    def request(self) -> Iterator[None]:
        self._requests.add(1)
        try:
            yield
        finally:
            self._requests.add(-1)

    def observe(self, deliveries: Sequence[Delivery]) -> None:
        """Each exporter's lag and counts, by its name."""
        meter = self._provider.get_meter("container-kit")
        gauges: dict[str, Callable[[Delivery], float]] = {
            "lag_events": lambda one: one.lag_events,
            "lag_seconds": lambda one: one.lag_s,
            "failing": lambda one: bool(one.state.problem),
        }
        counters: dict[str, Callable[[Delivery], float]] = {
            "delivered": lambda one: one.state.delivered,
            "refused": lambda one: one.state.refused,
            "missed": lambda one: one.state.missed,
            "errors": lambda one: one.state.errors,
        }
        for name, read in gauges.items():
            meter.create_observable_gauge(f"container_kit_exporter_{name}", [_by_exporter(deliveries, read)])
        for name, read in counters.items():
            meter.create_observable_counter(
                f"container_kit_exporter_{name}", [_by_exporter(deliveries, read)]
            )

    def observe_alerts(self, lines: Sequence[Line]) -> None:
        instruments.observe(self._provider.get_meter("container-kit"), lines)

    def _running(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(len(self._sandboxes.running()))]

    def text(self) -> str:
        """Prometheus text format 0.0.4."""
        return generate_latest(self._registry).decode()

    def close(self) -> None:
        self._provider.shutdown()


def _read_by(
    read: Callable[[], Iterable[Observation]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: read()


def _lost(name: str, count: int) -> Observation:
    """`name` is the sensor's, a dot, and the reason."""
    sensor, _, reason = name.partition(".")
    return Observation(count, {"sensor": sensor, "reason": reason})


def _running(name: str, health: Health) -> Observation:
    return Observation(health.running, {"sensor": name, "tier": health.tier})


def _by_exporter(
    deliveries: Sequence[Delivery], read: Callable[[Delivery], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(read(one), {"exporter": one.state.name}) for one in deliveries]

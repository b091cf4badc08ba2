"""OpenTelemetry instruments, read by Prometheus at /metrics, and sent by OTLP where the settings want that.

Every series exists at 0 from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

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
from daemon.sandbox.cgroup import Usage
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Registry, Sandbox
from daemon.sensing import Health
from daemon.telemetry.telemetry import Telemetry

PHASE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0, 600.0)
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
NO_USAGE = Usage(0, 0, 0, 0, 0, 0, 0)


class Outcome(StrEnum):
    """Of a request to launch. One that started may end in any way: that is counted by `End`."""

    STARTED = "started"
    BLOCKED = "blocked"
    REFUSED = "refused"
    UNATTESTED = "unattested"
    FAILED = "failed"
    ABANDONED = "abandoned"


class End(StrEnum):
    EXITED = "exited"
    OOM_KILLED = "oom_killed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    LOST = "lost"


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
        self._launches = meter.create_counter(
            "container_kit_launches", description="requests to launch, by what became of them"
        )
        self._blocks = meter.create_counter(
            "container_kit_launches_blocked", description="blocked launches, by each threat that blocks"
        )
        self._ends = meter.create_counter(
            "container_kit_sandboxes_ended", description="sandboxes that ended, by how"
        )
        for outcome in Outcome:
            self._launches.add(0, {"outcome": outcome})
        for end in End:
            self._ends.add(0, {"end": end})
        self._cpu_of_ended_ns = 0
        self._measure_sandboxes()
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

    def launched(self, outcome: Outcome) -> None:
        self._launches.add(1, {"outcome": outcome})

    def blocked(self, report: SecurityReport) -> None:
        for threat in {threat.id for threat in report.threats if threat.severity.blocks}:
            self._blocks.add(1, {"reason": threat})

    def ended(self, sandbox: Sandbox, result: ExecutionResult) -> None:
        self._ends.add(1, {"end": _end(result)})
        self._cpu_of_ended_ns += (sandbox.usage or NO_USAGE).cpu_ns

    def watch(self, guard: Guard) -> None:
        """What the sensors see and lose, and what was done with it."""
        meter = self._provider.get_meter("container-kit")
        sensing, pipeline, responder = guard.sensing, guard.pipeline, guard.responder
        counters: dict[str, Callable[[], Iterable[Observation]]] = {
            "sensor_events": lambda: [Observation(pipeline.events_seen)],
            "sensor_lost": lambda: [_lost(name, count) for name, count in sensing.lost.items()],
            "events_unjudged": lambda: [Observation(pipeline.dropped)],
            "findings_unaudited": lambda: [Observation(responder.dropped)],
            "forensics_dropped": lambda: [Observation(guard.forensics.dropped)],
            "recording_dropped": lambda: [Observation(guard.recording.dropped if guard.recording else 0)],
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
            "failing": lambda one: int(bool(one.state.problem)),
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

    def tell_of(self, telemetry: Telemetry) -> None:
        """What became of spans and of sets of metrics."""
        meter = self._provider.get_meter("container-kit")
        for name, read in {"sent": telemetry.sent, "dropped": telemetry.dropped}.items():
            meter.create_observable_counter(f"container_kit_telemetry_{name}", [_labelled(read)])

    def _measure_sandboxes(self) -> None:
        """All together: a label by sandbox would make a new series for each. Usage is of the last sample."""
        meter = self._provider.get_meter("container-kit")
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "running": ("", lambda: len(self._sandboxes.running())),
            "memory": ("By", lambda: sum(usage.memory_bytes for usage in self._usages())),
            "processes": ("", lambda: sum(usage.pids for usage in self._usages())),
        }
        for name, (unit, read) in gauges.items():
            meter.create_observable_gauge(f"container_kit_sandboxes_{name}", [_single(read)], unit)
        meter.create_observable_counter("container_kit_sandboxes_cpu", [_single(self._cpu_s)], "s")

    def _usages(self) -> list[Usage]:
        return [sandbox.usage or NO_USAGE for sandbox in self._sandboxes.running()]

    def _cpu_s(self) -> float:
        return (self._cpu_of_ended_ns + sum(usage.cpu_ns for usage in self._usages())) / 1e9

    def text(self) -> str:
        """Prometheus text format 0.0.4."""
        return generate_latest(self._registry).decode()

    def close(self) -> None:
        self._provider.shutdown()


def _read_by(
    read: Callable[[], Iterable[Observation]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: read()


def _single(read: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(read())]


def _labelled(
    read: Callable[[], Iterable[tuple[int, dict[str, str]]]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(value, labels) for value, labels in read()]


def _end(result: ExecutionResult) -> End:
    if result.exit_code is None:
        return End.LOST
    if result.oom_killed:
        return End.OOM_KILLED
    if result.timed_out:
        return End.TIMED_OUT
    return End.KILLED if result.killed else End.EXITED


def _lost(name: str, count: int) -> Observation:
    """`name` is the sensor's, a dot, and the reason."""
    sensor, _, reason = name.partition(".")
    return Observation(count, {"sensor": sensor, "reason": reason})


def _running(name: str, health: Health) -> Observation:
    return Observation(int(health.running), {"sensor": name, "tier": health.tier})


def _by_exporter(
    deliveries: Sequence[Delivery], read: Callable[[Delivery], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(read(one), {"exporter": one.state.name}) for one in deliveries]

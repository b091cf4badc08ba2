"""The metrics of alerts and of their channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from daemon.alerts.alerts import Line
from daemon.alerts.evaluation import Evaluation

Read = Callable[[CallbackOptions], Iterable[Observation]]


def observe(meter: Meter, lines: Sequence[Line]) -> None:
    """Read at each scrape: by channel, and by rule and channel."""
    gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
    gauge("container_kit_alerts_firing", [_by_rule(lines, lambda _, one: len(one.alerts))])
    counter("container_kit_alerts_told", [_by_rule(lines, lambda line, one: line.told(one.rule))])
    counter("container_kit_alerts_suppressed", [_by_rule(lines, lambda _, one: one.suppressed_total)])
    prefix = "container_kit_alert_channel"
    gauge(f"{prefix}_failing", [_by_channel(lines, lambda line: int(bool(line.delivery.state.problem)))])
    gauge(f"{prefix}_lag_events", [_by_channel(lines, lambda line: line.delivery.lag_events)])
    counter(f"{prefix}_errors", [_by_channel(lines, lambda line: line.delivery.state.errors)])
    counter(f"{prefix}_refused", [_by_channel(lines, lambda line: line.alerting.refusals)])


def _by_rule(lines: Sequence[Line], read: Callable[[Line, Evaluation], float]) -> Read:
    return lambda _: [
        Observation(read(line, each), {"alert": each.rule.name, "channel": line.name})
        for line in lines
        for each in line.alerting.evaluations
    ]


def _by_channel(lines: Sequence[Line], read: Callable[[Line], float]) -> Read:
    return lambda _: [Observation(read(line), {"channel": line.name}) for line in lines]

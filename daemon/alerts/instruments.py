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
    counter(
        "container_kit_alerts_told", [_by_rule(lines, lambda line, one: line.alerting.told[one.rule.name])]
    )
    counter("container_kit_alerts_suppressed", [_by_rule(lines, lambda _, one: one.suppressed_total)])
    gauge(
        "container_kit_alert_channel_failing",
        [_by_channel(lines, lambda one: bool(one.delivery.state.problem))],
    )
    gauge("container_kit_alert_channel_lag_events", [_by_channel(lines, lambda one: one.delivery.lag_events)])
    counter("container_kit_alert_channel_errors", [_by_channel(lines, lambda one: one.delivery.state.errors)])
    counter("container_kit_alert_channel_refused", [_by_channel(lines, lambda one: one.alerting.refusals)])


def _by_rule(lines: Sequence[Line], read: Callable[[Line, Evaluation], float]) -> Read:
    return lambda _: [
        Observation(read(line, each), {"alert": each.rule.name, "channel": line.name})
        for line in lines
        for each in line.alerting.evaluations
    ]


def _by_channel(lines: Sequence[Line], read: Callable[[Line], float]) -> Read:
    return lambda _: [Observation(read(line), {"channel": line.name}) for line in lines]

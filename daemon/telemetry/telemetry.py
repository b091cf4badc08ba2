"""Providers of traces and metrics with their outboxes; the audit log depends on none of this."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import structlog
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from daemon import __version__, tracing
from daemon.errors import ConfigError, ExportError
from daemon.settings import TelemetrySettings, settings_file
from daemon.telemetry.headers import read
from daemon.telemetry.outbox import REASONS, Outbox
from daemon.telemetry.over_http import OverHttp
from exporters.http import LOOPBACK
from exporters.tls import Tls, context

SPANS_WAITING = 4096
SPANS_A_REQUEST = 64  # as many are encoded at a time: the event loop waits for what the thread does
CLOSE_DEADLINE_S = 2.0
# What callers, images and sandboxes named ends up in attributes.
SPAN_LIMITS = SpanLimits(max_attributes=64, max_events=64, max_links=16, max_attribute_length=512)

log = structlog.get_logger()
Send = Callable[[bytes], bytes]


class Telemetry:
    """Of a daemon whose settings name an endpoint; with none, no provider is set and nothing runs."""

    def __init__(self, settings: TelemetrySettings, instance: str = "") -> None:
        """From then on the process's spans are recorded. Raises ConfigError.

        `instance` tells daemons of one host apart.
        """
        host = socket.gethostname()
        self.resource = Resource.create(
            {
                "service.name": "container-kitd",
                "service.version": __version__,
                "service.instance.id": f"{host}-{instance}",
                "host.name": host,
            }
        )
        self.outboxes: list[Outbox[Any]] = []
        self.readers: list[InMemoryMetricReader] = []
        self._interval_s = settings.interval_s
        self._sets: Outbox[MetricsData] | None = None
        if settings.endpoint:
            _check(settings)
            self._trace(sender(settings, "traces"))
            self._measure(sender(settings, "metrics"))

    def _trace(self, send: Send) -> None:
        def export(spans: list[ReadableSpan]) -> int:
            answer = send(encode_spans(spans).SerializeToString())
            return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans

        outbox = Outbox("traces", export, limit=SPANS_WAITING, batch=SPANS_A_REQUEST)
        self.outboxes.append(outbox)
        # The caller's flag does not decide: nobody hides a launch by asking for no trace.
        provider = TracerProvider(ALWAYS_ON, self.resource, shutdown_on_exit=False, span_limits=SPAN_LIMITS)
        provider.add_span_processor(_Ended(outbox))
        tracing.use(provider)

    def _measure(self, send: Send) -> None:
        def export(sets: list[MetricsData]) -> int:
            """1 where any point was rejected: what is counted is sets."""
            (data,) = sets
            answer = send(encode_metrics(data).SerializeToString())
            success = ExportMetricsServiceResponse.FromString(answer).partial_success
            return min(1, success.rejected_data_points)

        # Sums are from the start, so a set that comes late is worth nothing beside the next one.
        self._sets = Outbox("metrics", export, limit=1, batch=1)
        self.outboxes.append(self._sets)
        self.readers.append(InMemoryMetricReader())

    async def run(self) -> None:
        """Until cancelled. The instruments are read here, in the loop whose state they show."""
        while self._sets is not None:
            await asyncio.sleep(self._interval_s)
            self._measured(self._sets)

    def _measured(self, outbox: Outbox[MetricsData]) -> None:
        for reader in self.readers:
            if (data := reader.get_metrics_data()) is not None:
                outbox.put(data)

    def sent(self) -> Iterator[tuple[int, dict[str, str]]]:
        for outbox in self.outboxes:
            yield outbox.sent, {"signal": outbox.signal}

    def dropped(self) -> Iterator[tuple[int, dict[str, str]]]:
        for outbox in self.outboxes:
            for reason in REASONS:
                yield outbox.lost[reason], {"signal": outbox.signal, "reason": reason}

    async def close(self) -> None:
        """Within CLOSE_DEADLINE_S and little more, whatever the receiver does."""
        if self._sets is not None:
            self._measured(self._sets)
        await asyncio.to_thread(_close, self.outboxes)


class _Ended(SpanProcessor):
    def __init__(self, outbox: Outbox[ReadableSpan]) -> None:
        self._outbox = outbox

    def on_end(self, span: ReadableSpan) -> None:
        self._outbox.put(span)


def _close(outboxes: Sequence[Outbox[Any]]) -> None:
    deadline_s = time.monotonic() + CLOSE_DEADLINE_S
    for outbox in outboxes:
        outbox.stop()
    for outbox in outboxes:
        outbox.join(deadline_s)
        if outbox.lost.total():
            log.warning("telemetry lost", signal=outbox.signal, sent=outbox.sent, **outbox.lost)


def _check(settings: TelemetrySettings) -> None:
    """Raises ConfigError: what could not be honoured later is told at the start."""
    url, where = urlsplit(settings.endpoint), f"{settings_file()}: telemetry"
    if settings.headers and url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ConfigError(f"{where}.headers: a secret would go over the net in clear: use https")
    if settings.protocol == "grpc" and find_spec("grpc") is None:
        raise ConfigError(f"{where}.protocol: grpc needs more: pip install 'container-kit[otlp-grpc]'")
    try:
        read(settings.headers)
        context(_tls(settings))
    except ExportError as error:
        raise ConfigError(f"{where}: {error}") from error


def sender(settings: TelemetrySettings, signal: str) -> Send:
    """Of one request to the collector; returns its answer, or raises ExportError."""
    if settings.protocol == "http":
        return OverHttp(settings, _tls(settings), signal)
    from daemon.telemetry.over_grpc import OverGrpc

    return OverGrpc(settings, _tls(settings), signal)


def _tls(settings: TelemetrySettings) -> Tls:
    return Tls(
        ca_file=settings.ca_file, certificate_file=settings.certificate_file, key_file=settings.key_file
    )

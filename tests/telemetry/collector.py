"""An OTLP receiver of the official protocol buffers, over HTTP and over gRPC, in threads of the test."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import Queue
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.telemetry.certificate import Certificate

DEADLINE_S = 60.0


@dataclass
class Collector:
    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    """With another one it takes no traces, and says what it was sent as headers."""
    padding: int = 0
    """Over HTTP: bytes of no meaning in an answer."""

    def trace(self, trace_id: str, wanted: Callable[[list[Span]], bool]) -> list[Span]:
        """Its spans, once there are those that are wanted."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            found = [span for span in self.spans if span.trace_id.hex() == trace_id]
            if wanted(found):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"spans of {trace_id}: {sorted(span.name for span in found)}")

    def points(self, name: str, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Of a metric's newest set, each as its attributes and its `value`, once they are as wanted."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            found = _points(self.metrics[name]) if name in self.metrics else []
            if wanted(found):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{name}: {found}")

    def take_traces(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def take_metrics(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        for resource in request.resource_metrics:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_metrics:
                self.metrics.update({metric.name: metric for metric in scope.metrics})


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in of.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(one) for one in found.values] if kind == "array_value" else found


def _points(metric: Metric) -> list[dict[str, Any]]:
    points = getattr(metric, str(metric.WhichOneof("data"))).data_points
    return [{**attributes(point), "value": _number(point)} for point in points]


def _number(point: Any) -> float:
    """Of a histogram, its count."""
    return float(getattr(point, point.WhichOneof("value")) if hasattr(point, "as_int") else point.count)


@contextmanager
def over_http(certificate: Certificate | None = None) -> Iterator[Collector]:
    """With a certificate, for clients that have the same."""
    received = Collector()
    loops: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Queue()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(received, loops, certificate)))
    thread.start()
    loop, stop = loops.get(timeout=DEADLINE_S)
    try:
        yield received
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _serve(
    received: Collector,
    loops: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
    certificate: Certificate | None,
) -> None:
    app, stop = web.Application(client_max_size=64 << 20), asyncio.Event()
    app.router.add_post("/v1/traces", partial(_traces, received))
    app.router.add_post("/v1/metrics", partial(_metrics, received))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_tls(certificate)).start()
    received.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    loops.put((asyncio.get_running_loop(), stop))
    await stop.wait()
    await runner.cleanup()


def _tls(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.certificate_file)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _traces(received: Collector, request: web.Request) -> web.Response:
    if received.status != 200:
        return web.Response(status=received.status, text=f"not now: {dict(request.headers)}")
    received.take_traces(
        trace_service_pb2.ExportTraceServiceRequest.FromString(await _body(received, request))
    )
    if received.padding:
        return web.Response(body=bytes(received.padding))
    return _answer(trace_service_pb2.ExportTraceServiceResponse())


async def _metrics(received: Collector, request: web.Request) -> web.Response:
    received.take_metrics(
        metrics_service_pb2.ExportMetricsServiceRequest.FromString(await _body(received, request))
    )
    return _answer(metrics_service_pb2.ExportMetricsServiceResponse())


async def _body(received: Collector, request: web.Request) -> bytes:
    assert request.content_type == "application/x-protobuf"
    received.headers.append({name.lower(): value for name, value in request.headers.items()})
    return await request.read()


def _answer(message: Message) -> web.Response:
    return web.Response(body=message.SerializeToString(), content_type="application/x-protobuf")


@contextmanager
def over_grpc(certificate: Certificate | None = None) -> Iterator[Collector]:
    """With a certificate, for clients that have the same."""
    received, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(received), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(received), server)
    received.endpoint = _bound(server, certificate)
    server.start()
    try:
        yield received
    finally:
        server.stop(grace=None).wait(DEADLINE_S)


def _bound(server: grpc.Server, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    chain, key = certificate.certificate_file.read_bytes(), certificate.key_file.read_bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)], chain, require_client_auth=True)
    return f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, received: Collector) -> None:
        self._received = received

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._received.headers.append(dict(context.invocation_metadata()))
        if self._received.status != 200:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"not now: {self._received.headers[-1]}")
        self._received.take_traces(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, received: Collector) -> None:
        self._received = received

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._received.headers.append(dict(context.invocation_metadata()))
        self._received.take_metrics(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()

"""OTLP over gRPC; imported only where the settings want it, for it needs the extra `otlp-grpc`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import grpc

from daemon.errors import ExportError
from daemon.settings import TelemetrySettings
from daemon.telemetry.headers import read
from exporters.secret import masked
from exporters.tls import Tls

METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
PORT = 4317
# https://opentelemetry.io/docs/specs/otlp/#failures
RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class OverGrpc:
    """Called from one thread. The channel is made anew after a failure: keys may be renewed."""

    def __init__(self, settings: TelemetrySettings, tls: Tls, signal: str) -> None:
        self._settings, self._tls, self._method = settings, tls, METHODS[signal]
        self._channel: grpc.Channel | None = None

    def __call__(self, body: bytes) -> bytes:
        """The receiver's answer. Raises ExportError."""
        self._channel = self._channel or self._connected()
        call: Any = self._channel.unary_unary(self._method)
        headers = read(self._settings.headers)
        try:
            answer: bytes = call(body, timeout=self._settings.timeout_s, metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            self._channel.close()
            self._channel = None
            code, details = error.code(), masked(str(error.details()), headers.values())[:200]
            reason = f"{self._settings.endpoint}: {code.name}: {details}"
            raise ExportError(reason, retryable=code in RETRYABLE) from error
        return answer

    def _connected(self) -> grpc.Channel:
        """Raises ExportError where the files of TLS cannot be used."""
        parts, tls = urlsplit(self._settings.endpoint), self._tls
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        target = f"{host}:{parts.port or PORT}"
        if parts.scheme == "http":
            return grpc.insecure_channel(target)
        try:
            files = [f.read_bytes() if f else None for f in (tls.ca_file, tls.key_file, tls.certificate_file)]
        except OSError as error:
            raise ExportError(f"tls: {error.filename}: {error.strerror}") from error
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(*files))

"""OpenTelemetry logs by OTLP: protobuf over HTTP, or gRPC where the extra `otlp-grpc` is installed.

Not by the SDK's own pipeline: that one drops in silence (opentelemetry-python issue 4555).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ConfigError
from exporters import Exporter, Kind, Surroundings
from exporters.http import Http, refuse_bare_secret
from exporters.otlp_logs import OtlpOptions, authorization, check, request

CONTENT_TYPE = "application/x-protobuf"


class OtlpHttp:
    def __init__(self, options: OtlpOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._surroundings = surroundings
        self._http = Http(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        body = request(batch, self._surroundings).SerializeToString()
        answer = await self._http.post("/v1/logs", body, CONTENT_TYPE, authorization(self._options))
        if not answer.ok:
            raise answer.error()
        check(answer.body)

    async def close(self) -> None:
        await self._http.close()


def make(options: OtlpOptions, surroundings: Surroundings) -> Exporter:
    """Raises ConfigError."""
    if options.bearer_token:
        refuse_bare_secret(options.url)
    if options.protocol == "http":
        return OtlpHttp(options, surroundings)
    if find_spec("grpc") is None:
        raise ConfigError("protocol: grpc needs more: pip install 'container-kit[otlp-grpc]'")
    from exporters.otlp_grpc import OtlpGrpc

    return OtlpGrpc(options, surroundings)


OTLP = Kind(OtlpOptions, make)

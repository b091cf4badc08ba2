"""OTLP logs by gRPC; imported only where the settings want it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from yarl import URL

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ConfigError, ExportError
from exporters import Surroundings, secret
from exporters.otlp_logs import OtlpOptions, authorization, check, request

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
ABOUT_THE_BATCH = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})
TOO_LARGE = "eceived message larger than max"
"""As the servers of gRPC's own libraries say it, in C with a capital letter."""
PORT = 4317

AT_ONCE = ("grpc.use_local_subchannel_pool", 1)
"""A new channel tries at once, however long the last one would have waited: our caller does the waiting."""


class OtlpGrpc:
    def __init__(self, options: OtlpOptions, surroundings: Surroundings) -> None:
        if not options.tls.verify:
            raise ConfigError("tls.verify: gRPC cannot do without it; give the receiver's ca_file")
        self._options = options
        self._surroundings = surroundings
        self._channel: grpc.aio.Channel | None = None

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        self._channel = self._channel or _channel(self._options)
        call: Any = self._channel.unary_unary(METHOD)
        body = request(batch, self._surroundings).SerializeToString()
        headers = authorization(self._options)
        metadata = [(name.lower(), value) for name, value in headers.items()]
        try:
            answer = await call(body, timeout=self._options.deadline_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            await self.close()
            shown = secret.masked(str(error.details()), [value.split()[-1] for value in headers.values()])
            reason = f"{error.code().name}: {shown}"
            raise ExportError(reason, retryable=not _is_about_the_batch(error)) from error
        check(answer)

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()


def _is_about_the_batch(error: grpc.aio.AioRpcError) -> bool:
    """RESOURCE_EXHAUSTED may pass, unless it is about the size of the message."""
    return error.code() in ABOUT_THE_BATCH or (
        error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in str(error.details())
    )


def _channel(options: OtlpOptions) -> grpc.aio.Channel:
    """Raises ExportError."""
    url, tls = URL(options.url), options.tls
    host = f"[{url.raw_host}]" if ":" in str(url.raw_host) else url.raw_host
    target = f"{host}:{url.explicit_port or PORT}"
    if url.scheme == "http":
        return grpc.aio.insecure_channel(target, options=[AT_ONCE])
    try:
        files = [f.read_bytes() if f else None for f in (tls.ca_file, tls.key_file, tls.certificate_file)]
    except OSError as error:
        raise ExportError(f"tls: {error.filename}: {error.strerror}") from error
    names = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options=[AT_ONCE, *names])

"""OTLP as protobuf over HTTP: https://opentelemetry.io/docs/specs/otlp/#otlphttp"""

from __future__ import annotations

from contextlib import suppress

import urllib3

from daemon.errors import ExportError
from daemon.settings import TelemetrySettings
from daemon.telemetry.headers import read
from exporters.secret import masked
from exporters.tls import Tls, context

PATHS = {"traces": "/v1/traces", "metrics": "/v1/metrics"}
ANSWER_LIMIT_BYTES = 64 * 1024
SHOWN = 200
RETRYABLE = frozenset({429, 502, 503, 504})


class OverHttp:
    """Called from one thread. The connection is kept, and made anew after a failure: keys may be renewed."""

    def __init__(self, settings: TelemetrySettings, tls: Tls, signal: str) -> None:
        self._settings, self._tls = settings, tls
        self._url = settings.endpoint.rstrip("/") + PATHS[signal]
        self._pool: urllib3.PoolManager | None = None

    def __call__(self, body: bytes) -> bytes:
        """The receiver's answer. Raises ExportError."""
        try:
            return self._post(body)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._forget()
            raise ExportError(f"{self._url}: {error}") from error

    def _post(self, body: bytes) -> bytes:
        self._pool = self._pool or self._connected()
        headers = read(self._settings.headers)
        answer = self._pool.request(
            "POST",
            self._url,
            body=body,
            headers={"Content-Type": "application/x-protobuf", **headers},
            redirect=False,
            preload_content=False,
        )
        data = answer.read(ANSWER_LIMIT_BYTES + 1, decode_content=False)
        if len(data) > ANSWER_LIMIT_BYTES:
            self._forget()
            raise ExportError(f"{self._url}: an answer beyond {ANSWER_LIMIT_BYTES} bytes", retryable=False)
        answer.release_conn()
        if not 200 <= answer.status < 300:
            shown = masked(data.decode(errors="replace"), headers.values())[:SHOWN]
            raise ExportError(
                f"{self._url} answered {answer.status}: {shown}", retryable=answer.status in RETRYABLE
            )
        return data

    def _connected(self) -> urllib3.PoolManager:
        """Raises ExportError where the files of TLS cannot be used."""
        return urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(total=self._settings.timeout_s),
            ssl_context=context(self._tls) if self._url.startswith("https:") else None,
        )

    def _forget(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(OSError):
                pool.clear()

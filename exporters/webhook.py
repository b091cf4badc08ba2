"""A web hook: a POST a batch, signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence

from daemon.audit.record import SecurityAuditEvent
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact, value
from exporters.http import Http, HttpOptions, refuse_bare_secret

SIGNATURE = "X-Container-Kit-Signature"


class WebhookOptions(HttpOptions):
    signing_key: secret.SecretReference | None = None
    bearer_token: secret.SecretReference | None = None


class Webhook:
    """`{"events": [...]}`; any 2xx takes it all. A batch that comes again has the same Idempotency-Key."""

    def __init__(self, options: WebhookOptions, surroundings: Surroundings) -> None:
        self._options = options
        self._encode = surroundings.encode
        if options.bearer_token:
            refuse_bare_secret(options.url)
        self._http = Http(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        body = compact({"events": [value(self._encode(event)) for event in batch]})
        answer = await self._http.post("", body, "application/json", self._headers(batch, body))
        if not answer.ok:
            raise answer.error()

    def _headers(self, batch: Sequence[SecurityAuditEvent], body: bytes) -> dict[str, str]:
        ids = "\n".join(event.id for event in batch)
        headers = {"Idempotency-Key": hashlib.sha256(ids.encode()).hexdigest()}
        if self._options.signing_key:
            headers[SIGNATURE] = signature(secret.read(self._options.signing_key), int(time.time()), body)
        if self._options.bearer_token:
            headers["Authorization"] = f"Bearer {secret.read(self._options.bearer_token)}"
        return headers

    async def close(self) -> None:
        await self._http.close()


def signature(key: str, time_s: int, body: bytes) -> str:
    """`t=TIME,v1=HEX`: HMAC-SHA-256 of the time, a full stop and the body. Refuse old times: a replay."""
    digest = hmac.new(key.encode(), f"{time_s}.".encode() + body, hashlib.sha256)
    return f"t={time_s},v1={digest.hexdigest()}"


WEBHOOK = Kind(WebhookOptions, Webhook)

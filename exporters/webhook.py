"""A web hook: a POST a batch, signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

from daemon.audit.record import SecurityAuditEvent
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact, value
from exporters.http import Http, HttpOptions, HttpReceiver, refuse_bare_secret

SIGNATURE = "X-Container-Kit-Signature"


class HookReceiver(HttpReceiver):
    signing_key: secret.SecretReference | None = None
    bearer_token: secret.SecretReference | None = None


class WebhookOptions(HttpOptions, HookReceiver):
    pass


class Hook:
    """Posts JSON; any 2xx takes it. What comes again, by its ids, has the same Idempotency-Key."""

    def __init__(self, receiver: HookReceiver) -> None:
        if receiver.bearer_token:
            refuse_bare_secret(receiver.url)
        self._receiver = receiver
        self._http = Http(receiver)

    async def post(self, document: Mapping[str, object], ids: Sequence[str]) -> None:
        """Raises ExportError."""
        body = compact(document)
        answer = await self._http.post("", body, "application/json", self._headers(ids, body))
        if not answer.ok:
            raise answer.error()

    def _headers(self, ids: Sequence[str], body: bytes) -> dict[str, str]:
        headers = {"Idempotency-Key": hashlib.sha256("\n".join(ids).encode()).hexdigest()}
        if self._receiver.signing_key:
            headers[SIGNATURE] = signature(secret.read(self._receiver.signing_key), int(time.time()), body)
        if self._receiver.bearer_token:
            headers["Authorization"] = f"Bearer {secret.read(self._receiver.bearer_token)}"
        return headers

    async def close(self) -> None:
        await self._http.close()


class Webhook:
    """`{"events": [...]}`: a batch."""

    def __init__(self, options: WebhookOptions, surroundings: Surroundings) -> None:
        self._encode = surroundings.encode
        self._hook = Hook(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        document = {"events": [value(self._encode(event)) for event in batch]}
        await self._hook.post(document, [event.id for event in batch])

    async def close(self) -> None:
        await self._hook.close()


def signature(key: str, time_s: int, body: bytes) -> str:
    """`t=TIME,v1=HEX`: HMAC-SHA-256 of the time, a full stop and the body. Refuse old times: a replay."""
    digest = hmac.new(key.encode(), f"{time_s}.".encode() + body, hashlib.sha256)
    return f"t={time_s},v1={digest.hexdigest()}"


WEBHOOK = Kind(WebhookOptions, Webhook)

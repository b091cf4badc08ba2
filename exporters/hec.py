"""Splunk's HTTP Event Collector, with indexer acknowledgement: taken is what is indexed, not queued."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

from pydantic import Field

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError
from exporters import Kind, Surroundings, secret
from exporters.embedding import compact, time_ns, value
from exporters.http import Answer, Http, HttpOptions, refuse_bare_secret

EVENT, ACK = "/services/collector/event", "/services/collector/ack"
ABOUT_THE_EVENT = frozenset({6, 12, 13, 15})
"""Codes of a 400: invalid format, event missing, event blank, indexed fields. Others are about the set-up."""


class HecOptions(HttpOptions):
    token: secret.SecretReference
    index: str | None = None
    source: str = "container-kit"
    sourcetype: str = "_json"
    acknowledgement: bool = True
    """Needs indexer acknowledgement enabled for the token; without it, a Splunk that dies may lose events."""
    acknowledgement_deadline_s: float = Field(default=60.0, gt=0, le=110)
    poll_s: float = Field(default=0.5, ge=0.01)


class Hec:
    def __init__(self, options: HecOptions, surroundings: Surroundings) -> None:
        refuse_bare_secret(options.url)
        self._options = options
        self._surroundings = surroundings
        self._channel = str(uuid.uuid4())
        self._http = Http(options)

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        body = b"\n".join(compact(self._envelope(event)) for event in batch)
        answer = await self._http.post(EVENT, body, "application/json", self._headers())
        if not answer.ok:
            raise _error(answer)
        if self._options.acknowledgement:
            await self._indexed(_ack_id(answer))

    def _envelope(self, event: SecurityAuditEvent) -> dict[str, object]:
        envelope: dict[str, object] = {
            "time": time_ns(event) / 1e9,
            "host": self._surroundings.hostname,
            "source": self._options.source,
            "sourcetype": self._options.sourcetype,
            "event": value(self._surroundings.encode(event)),
            "fields": {"event_id": event.id, "event_type": event.event_type, "severity": event.severity},
        }
        if self._options.index:
            envelope["index"] = self._options.index
        return envelope

    def _headers(self) -> dict[str, str]:
        token = secret.read(self._options.token)
        return {"Authorization": f"Splunk {token}", "X-Splunk-Request-Channel": self._channel}

    async def _indexed(self, ack_id: int) -> None:
        """Until the indexer has it. Raises ExportError after the deadline: a restart forgets the number."""
        deadline = time.monotonic() + self._options.acknowledgement_deadline_s
        while time.monotonic() < deadline:
            question = compact({"acks": [ack_id]})
            answer = await self._http.post(ACK, question, "application/json", self._headers())
            if not answer.ok:
                raise answer.error(refusals=frozenset())
            if _acknowledged(answer, ack_id):
                return
            await asyncio.sleep(self._options.poll_s)
        raise ExportError(f"not indexed within {self._options.acknowledgement_deadline_s:g} s")

    async def close(self) -> None:
        await self._http.close()


def _ack_id(answer: Answer) -> int:
    body = answer.json()
    ack_id = body.get("ackId") if isinstance(body, dict) else None
    if not isinstance(ack_id, int):
        raise ExportError(
            "no ackId in the answer: enable indexer acknowledgement for the token, "
            "or set acknowledgement = false"
        )
    return ack_id


def _acknowledged(answer: Answer, ack_id: int) -> bool:
    body = answer.json()
    acks = body.get("acks") if isinstance(body, dict) else None
    return isinstance(acks, dict) and acks.get(str(ack_id)) is True


def _error(answer: Answer) -> ExportError:
    if answer.status == 400:
        body = answer.json()
        code = body.get("code") if isinstance(body, dict) else None
        return answer.error() if code in ABOUT_THE_EVENT else answer.error(refusals=frozenset())
    return answer.error()


HEC = Kind(HecOptions, Hec)

"""A receiver of every HTTP protocol, strict about each, as a process that can be killed:

    python -m tests.exporters.receiver PORT FILE

A record is appended to FILE, as a line of JSON, before it is acknowledged. With a FILE.refuse beside it, what
contains the text of that file is refused as the real receiver would.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

SIGNING_KEY, TOKEN = "correct horse battery staple", "9f0c"


class Receiver:
    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        refuse = file.with_suffix(".refuse")
        self._refused = refuse.read_text() if refuse.exists() else None
        self._created = {line["id"] for line in map(json.loads, file.read_text().splitlines())}
        self._numbers = count()
        self._indexed: dict[str, int] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        for path, handler in {
            "/webhook": self.webhook,
            "/v1/logs": self.otlp,
            "/services/collector/event": self.hec,
            "/services/collector/ack": self.hec_ack,
            "/{index}/_bulk": self.elastic,
            "/loki/api/v1/push": self.loki,
        }.items():
            app.router.add_post(path, handler)
        return app

    def keep(self, records: Iterable[tuple[str, Any]]) -> None:
        lines = [json.dumps({"id": key, "record": record}) + "\n" for key, record in records]
        os.write(self._file, "".join(lines).encode())

    def refuses(self, record: Any) -> bool:
        return self._refused is not None and self._refused in json.dumps(record)

    async def webhook(self, request: web.Request) -> web.Response:
        body = await request.read()
        time_s, digest = (
            part.split("=")[1] for part in request.headers["X-Container-Kit-Signature"].split(",")
        )
        expected = hmac.new(SIGNING_KEY.encode(), time_s.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(digest, expected)
        assert len(request.headers["Idempotency-Key"]) == 64
        events = json.loads(body)["events"]
        if any(map(self.refuses, events)):
            return web.Response(status=422)
        self.keep((event["id"], event) for event in events)
        return web.Response(status=204)

    async def otlp(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        found = ExportLogsServiceRequest.FromString(await request.read())
        answer = ExportLogsServiceResponse()
        for resource in found.resource_logs:
            assert {a.key for a in resource.resource.attributes} >= {"service.name", "host.name"}
            for record in resource.scope_logs[0].log_records:
                self._otlp_record(record, answer)
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    def _otlp_record(self, record: Any, answer: ExportLogsServiceResponse) -> None:
        assert record.time_unix_nano > 0
        assert record.event_name.startswith("container_kit.")
        assert len(record.trace_id) in {0, 16}
        if self.refuses(record.body.string_value):
            answer.partial_success.rejected_log_records += 1
            return
        (key,) = (a.value.string_value for a in record.attributes if a.key == "event.id")
        self.keep([(key, record.body.string_value)])

    async def hec(self, request: web.Request) -> web.Response:
        self._check_hec(request)
        decoder, text, events = json.JSONDecoder(), (await request.text()).strip(), []
        while text:
            event, end = decoder.raw_decode(text)
            events.append(event)
            text = text[end:].lstrip()
        for number, event in enumerate(events):
            assert set(event) <= {"time", "host", "source", "sourcetype", "index", "event", "fields"}
            assert not any(isinstance(v, dict) for v in event["fields"].values())
            if self.refuses(event["event"]):
                return web.json_response(
                    {"code": 6, "text": "Invalid", "invalid-event-number": number}, status=400
                )
        self.keep((event["fields"]["event_id"], event["event"]) for event in events)
        number = next(self._numbers)
        self._indexed[str(number)] = 0
        return web.json_response({"text": "Success", "code": 0, "ackId": number})

    async def hec_ack(self, request: web.Request) -> web.Response:
        """Indexed at the second question: the first comes too early."""
        self._check_hec(request)
        acks = [str(number) for number in json.loads(await request.read())["acks"]]
        answer = {number: self._indexed.get(number, 0) > 0 for number in acks}
        for number in self._indexed.keys() & set(acks):
            self._indexed[number] += 1
        return web.json_response({"acks": answer})

    @staticmethod
    def _check_hec(request: web.Request) -> None:
        assert request.headers["Authorization"] == f"Splunk {TOKEN}"
        assert len(request.headers["X-Splunk-Request-Channel"]) == 36

    async def elastic(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-ndjson"
        body = await request.read()
        assert body.endswith(b"\n")
        lines = [json.loads(line) for line in body[:-1].split(b"\n")]
        items = [self._create(a, d) for a, d in zip(lines[::2], lines[1::2], strict=True)]
        return web.json_response({"errors": any(i["create"]["status"] > 299 for i in items), "items": items})

    def _create(self, action: Any, document: Any) -> Any:
        key = action["create"]["_id"]
        assert "@timestamp" in document
        if self.refuses(document):
            return {"create": {"_id": key, "status": 400, "error": {"type": "mapper_parsing_exception"}}}
        if key in self._created:
            return {"create": {"_id": key, "status": 409, "error": {"type": "version_conflict"}}}
        self._created.add(key)
        self.keep([(key, document)])
        return {"create": {"_id": key, "status": 201}}

    async def loki(self, request: web.Request) -> web.Response:
        streams = json.loads(await request.read())["streams"]
        values = [value for stream in streams for value in stream["values"]]
        for stream in streams:
            assert set(stream["stream"]) == {"job", "host", "event_type", "severity"}
        for time_ns, line, metadata in values:
            assert time_ns.isdigit()
            assert len(time_ns) == 19
            assert all(isinstance(v, str) for v in metadata.values())
            if self.refuses(line):
                return web.Response(status=400, text="refused")
        self.keep((metadata["event_id"], line) for _, line, metadata in values)
        return web.Response(status=204)


if __name__ == "__main__":
    Path(sys.argv[2]).touch()
    web.run_app(Receiver(Path(sys.argv[2])).app(), host="127.0.0.1", port=int(sys.argv[1]), print=None)

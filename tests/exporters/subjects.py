"""Each kind of exporter with a receiver that can be taken away, held up and asked what it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from exporters.otlp_grpc import METHOD
from tests.exporters import plug_in
from tests.exporters.alertmanager import alertmanager
from tests.exporters.gate import Gate
from tests.exporters.journal import Journal
from tests.exporters.running import (
    Child,
    broker,
    http_receiver,
    nats,
    nats_messages,
    nats_stream,
    rsyslog,
    running,
    whole_lines,
)
from tests.ports import free_port


class Subject:
    """`options` are those of the exporter's table; `port` is where its receiver seems to be."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        self.port, self.options = port, options

    async def received(self) -> list[str]:
        """The ids of events, in the order of their arrival."""
        raise NotImplementedError

    async def go(self) -> None:
        """From now on nobody is there."""
        raise NotImplementedError

    async def come_back(self) -> None:
        raise NotImplementedError

    def hold(self) -> None:
        """From now on the receiver hears and answers nothing."""

    def release(self) -> None: ...


class Receivers:
    """Child processes, started when they are first wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._children: dict[Any, Child] = {}

    def get(self, make: Callable[[Path], Child]) -> Child:
        if make not in self._children:
            folder = self._folder / make.__name__
            folder.mkdir()
            self._children[make] = self._stack.enter_context(running(make(folder)))
        return self._children[make]

    def end(self) -> None:
        self._stack.close()


class _Behind(Subject):
    """Behind a gate."""

    def __init__(self, gate: Gate, received: Callable[[], list[tuple[str, Any]]], **options: Any) -> None:
        super().__init__(gate.port, **options)
        self._gate, self._received = gate, received
        self.hold, self.release = gate.hold, gate.release  # type: ignore[method-assign]

    async def received(self) -> list[str]:
        return [key for key, _ in await asyncio.to_thread(self._received)]

    async def go(self) -> None:
        await self._gate.shut()

    async def come_back(self) -> None:
        await self._gate.open()


@asynccontextmanager
async def _behind(make: Callable[[Path], Child], receivers: Receivers, _: Path) -> AsyncIterator[Subject]:
    child = receivers.get(make)
    gate = Gate(child.port)
    await gate.open()
    yield _Behind(gate, child.received)
    await gate.shut()


@asynccontextmanager
async def _stream(receivers: Receivers, _: Path) -> AsyncIterator[Subject]:
    child = receivers.get(nats)
    await nats_stream(child.port)
    gate = Gate(child.port)
    await gate.open()
    yield _Behind(gate, lambda: asyncio.run(nats_messages(child.port)))
    await gate.shut()


@asynccontextmanager
async def _collector(_: Receivers, __: Path) -> AsyncIterator[Subject]:
    """Of OTLP over gRPC, by the official protocol."""
    kept: list[tuple[str, Any]] = []

    async def export(request: ExportLogsServiceRequest, _: Any) -> ExportLogsServiceResponse:
        for one in request.resource_logs[0].scope_logs[0].log_records:
            kept.extend((a.value.string_value, one) for a in one.attributes if a.key == "event.id")
        return ExportLogsServiceResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportLogsServiceRequest.FromString,
        response_serializer=ExportLogsServiceResponse.SerializeToString,
    )
    _, service, method = METHOD.split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    gate = Gate(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await gate.open()
    yield _Behind(gate, lambda: kept, protocol="grpc")
    await gate.shut()
    await server.stop(None)


class _Folder(Subject):
    """A file, whose folder goes away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "lines"
        self._folder.mkdir()
        super().__init__(path=self._folder / "events.jsonl")

    async def received(self) -> list[str]:
        return [json.loads(line)["id"] for line in whole_lines(self._folder / "events.jsonl")]

    async def go(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    async def come_back(self) -> None:
        self._folder.with_name("away").rename(self._folder)


@asynccontextmanager
async def _file(_: Receivers, folder: Path) -> AsyncIterator[Subject]:
    yield _Folder(folder)


@asynccontextmanager
async def _plug_in(_: Receivers, folder: Path) -> AsyncIterator[Subject]:
    with plug_in.installed(folder / "site"):
        yield _Folder(folder)


class _OfJournal(Subject):
    def __init__(self, journal: Journal) -> None:
        super().__init__(socket=journal.socket)
        self._journal = journal

    async def received(self) -> list[str]:
        return [key for key, _ in await asyncio.to_thread(self._journal.received)]

    async def go(self) -> None:
        self._journal.kill()

    async def come_back(self) -> None:
        self._journal.start()


@asynccontextmanager
async def _journal(_: Receivers, folder: Path) -> AsyncIterator[Subject]:
    with running(Journal(folder)) as child:
        assert isinstance(child, Journal)
        yield _OfJournal(child)


@asynccontextmanager
async def _broker(_: Receivers, folder: Path) -> AsyncIterator[Subject]:
    """It has to know the gate, as it tells its clients where it is."""
    port = free_port()
    gate = Gate(port)
    with running(broker(folder, port=port, advertised_port=gate.port)) as child:
        await gate.open()
        yield _Behind(gate, child.received)
        await gate.shut()


SUBJECTS: dict[str, Callable[[Receivers, Path], AbstractAsyncContextManager[Subject]]] = {
    **{kind: partial(_behind, http_receiver) for kind in ("otlp", "webhook", "hec", "elastic", "loki")},
    "otlp grpc": _collector,
    "alertmanager": partial(_behind, alertmanager),
    "syslog": partial(_behind, rsyslog),
    "nats": _stream,
    "kafka": _broker,
    "file": _file,
    "journald": _journal,
    "memo": _plug_in,
}
"""By kind, and a word more where a kind has two ways."""

"""Receivers that are slow, small-minded or curious: none holds it up, and none makes it tell a secret."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from pydantic import ValidationError

from daemon.errors import ExportError
from exporters import datagrams
from exporters.hec import HecOptions
from exporters.nats import NatsOptions
from exporters.otlp_grpc import METHOD
from tests.exporters.receiver import TOKEN
from tests.exporters.running import (
    delivering,
    event,
    made,
    nats,
    nats_messages,
    nats_stream,
    record,
    running,
    table,
    until,
)

LARGE = "x" * 9000
LIMIT_BYTES = 8192


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Path]:
    """Takes twenty datagrams a second."""
    path, ended = tmp_path / "slow", threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(0.1)

        def read() -> None:
            while not ended.wait(0.05):
                try:
                    receiver.recv(1 << 16)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=read)
        thread.start()
        yield path
        ended.set()
        thread.join()


@pytest.mark.parametrize(("kind", "key"), [("syslog", "path"), ("journald", "socket")])
async def test_one_that_takes_them_slowly_holds_no_thread_for_long(
    kind: str, key: str, slow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams, "DEADLINE_S", 0.5)
    own = {"transport": "unix"} if kind == "syslog" else {}
    async with made(kind, 514, tmp_path, **{**own, key: str(slow)}) as exporter:
        started_s = time.monotonic()
        with pytest.raises(ExportError, match="within") as raised:
            await exporter.export([event(number, text="x" * 4000) for number in range(1000)])
    assert time.monotonic() - started_s < 5
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("settings", "limits"),
    [(f"max_payload: {LIMIT_BYTES}", {}), ("", {"max_msg_size": LIMIT_BYTES})],
    ids=["server", "stream"],
)
async def test_what_is_too_large_for_nats_holds_nothing_up(
    settings: str, limits: dict[str, Any], tmp_path: Path
) -> None:
    with running(nats(tmp_path, settings)) as child:
        await nats_stream(child.port, **limits)
        await _check_too_large("nats", child.port, tmp_path)
        found = [message["details"]["number"] for _, message in await nats_messages(child.port)]
    assert found == [0, 1, 3, 4]


async def _check_too_large(kind: str, port: int, folder: Path, **own: Any) -> None:
    sent = [event(number, text=LARGE if number == 2 else "") for number in range(5)]
    async with delivering([{**table(kind, port, folder), **own}], folder) as (audit, deliveries):
        (delivery,) = deliveries.all
        await record(audit, sent)
        await until(lambda: delivery.lag_events == 0, 30)
        assert (delivery.state.refused, delivery.state.problem) == (1, "")
    (note,) = (folder / "exporters" / kind / "dead-letters.jsonl").read_text().splitlines()
    assert json.loads(note)["event"]["details"]["number"] == 2


@asynccontextmanager
async def _small_collector() -> AsyncIterator[int]:
    async def export(_: bytes, __: Any) -> bytes:
        return ExportLogsServiceResponse().SerializeToString()

    _, service, method = METHOD.split("/")
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMIT_BYTES)])
    handlers = {method: grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


async def test_what_is_too_large_for_a_collector_holds_nothing_up(tmp_path: Path) -> None:
    async with _small_collector() as port:
        await _check_too_large("otlp", port, tmp_path, protocol="grpc")


@pytest.mark.parametrize(
    ("kind", "secrets"),
    [
        ("loki", {"bearer_token": "token"}),
        ("hec", {"token": "token"}),
        ("elastic", {"user": "writer", "password": "token"}),
        ("alertmanager", {"bearer_token": "token"}),
    ],
)
async def test_a_secret_that_comes_back_is_not_told(
    kind: str, secrets: dict[str, str], tmp_path: Path
) -> None:
    """Some proxies answer an error with the headers of the request."""
    given: list[str] = []

    async def mirror(request: web.Request) -> web.Response:
        given.append(request.headers["Authorization"].split()[1])
        return web.Response(status=502, text=f"you said {dict(request.headers)} {TOKEN}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", mirror)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    own = {name: f"file:{tmp_path}/{text}" if text == "token" else text for name, text in secrets.items()}
    async with made(kind, port, tmp_path, **own) as exporter:
        with pytest.raises(ExportError, match="the receiver answered 502: you said") as raised:
            await exporter.export([event()])
    await runner.cleanup()
    assert given
    assert given[0] not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"servers": ["nats://h:4222"], "token": "credential:t"}, "in clear"),
        ({"servers": ["tls://h:4222", "nats://h:4222"], "token": "credential:t"}, "in clear"),
        ({"servers": ["h:4222"], "token": "credential:t"}, "in clear"),
        ({"servers": ["nats://user:hunter2@h:4222"]}, "no user or password"),
    ],
)
def test_nats_sends_no_secret_in_clear(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as raised:
        NatsOptions.model_validate({"name": "n", "kind": "nats", **options})
    assert "hunter2" not in str(raised.value.errors(include_input=False)[0]["msg"])


@pytest.mark.parametrize(
    "options",
    [
        {"token": "credential:t"},
        {"servers": ["127.0.0.1:4222"], "token": "credential:t"},
        {"servers": ["tls://h:4222"], "token": "credential:t"},
        {"servers": ["nats://h:4222"], "token": "credential:t", "tls": {}},
        {"servers": ["nats://h:4222"]},
    ],
)
def test_nats_may_be_anywhere_else(options: dict[str, Any]) -> None:
    NatsOptions.model_validate({"name": "n", "kind": "nats", **options})


def test_an_indexer_is_not_asked_without_a_pause() -> None:
    with pytest.raises(ValidationError, match="poll_s"):
        HecOptions.model_validate(
            {"name": "h", "kind": "hec", "url": "https://h", "token": "credential:t", "poll_s": 1e-6}
        )

"""What the kinds over HTTP show to a receiver, and what they make of its answers."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon.errors import ConfigError, ExportError
from exporters import http
from tests.exporters.authority import Authority
from tests.exporters.receiver import SIGNING_KEY, TOKEN
from tests.exporters.running import event, made

INDEXED = '{"acks": {"7": true}}'


class Receiver:
    """Gives its answers one after the other, the last one again and again."""

    def __init__(self, *answers: tuple[int, str | bytes]) -> None:
        self._answers = list(answers or [(200, b"")])
        self.requests: list[tuple[str, str, bytes]] = []
        """Path, Authorization and body of each."""

    async def answer(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        self.requests.append((request.path, authorization, await request.read()))
        status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def listening(receiver: Receiver, secure: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _check_error(
    receiver: Receiver, kind: str, message: str, folder: Path, *, count: int = 1, **options: Any
) -> ExportError:
    async with listening(receiver) as port, made(kind, port, folder, **options) as exporter:
        with pytest.raises(ExportError, match=message) as raised:
            await exporter.export([event(number) for number in range(count)])
    return raised.value


@pytest.mark.parametrize(
    ("kind", "options", "shown"),
    [
        ("otlp", {"bearer_token": "token"}, f"Bearer {TOKEN}"),
        ("webhook", {"bearer_token": "token"}, f"Bearer {TOKEN}"),
        ("loki", {"bearer_token": "token"}, f"Bearer {TOKEN}"),
        ("alertmanager", {"bearer_token": "token"}, f"Bearer {TOKEN}"),
        ("hec", {"acknowledgement": False}, f"Splunk {TOKEN}"),
        ("elastic", {"api_key": "token"}, f"ApiKey {TOKEN}"),
        (
            "elastic",
            {"user": "writer", "password": "key"},
            f"Basic {b64encode(f'writer:{SIGNING_KEY}'.encode()).decode()}",
        ),
    ],
)
async def test_the_secret_is_shown_as_the_receiver_wants_it(
    kind: str, options: dict[str, Any], shown: str, tmp_path: Path
) -> None:
    files = {key: f"file:{tmp_path}/{value}" for key, value in options.items() if value in {"token", "key"}}
    receiver = Receiver((200, '{"items": [{"create": {"status": 201}}]}' if kind == "elastic" else b""))
    async with listening(receiver) as port, made(kind, port, tmp_path, **{**options, **files}) as exporter:
        await exporter.export([event()])
    ((_, authorization, _),) = receiver.requests
    assert authorization == shown


async def test_a_secret_that_is_replaced_is_shown_anew(tmp_path: Path) -> None:
    receiver, options = Receiver(), {"bearer_token": f"file:{tmp_path}/token"}
    async with listening(receiver) as port, made("webhook", port, tmp_path, **options) as exporter:
        await exporter.export([event()])
        (tmp_path / "token").write_text("another\n")
        await exporter.export([event()])
    assert [authorization for _, authorization, _ in receiver.requests] == [
        f"Bearer {TOKEN}",
        "Bearer another",
    ]


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "bell\a"])
async def test_what_is_no_secret_is_not_shown(text: str, tmp_path: Path) -> None:
    receiver, options = Receiver(), {"bearer_token": f"file:{tmp_path}/token"}
    async with listening(receiver) as port, made("webhook", port, tmp_path, **options) as exporter:
        (tmp_path / "token").write_text(text)
        with pytest.raises(ExportError, match="holds no secret") as raised:
            await exporter.export([event()])
    assert raised.value.retryable
    assert receiver.requests == []


@pytest.mark.parametrize("kind", ["otlp", "webhook", "loki", "alertmanager", "elastic"])
async def test_no_secret_goes_over_the_net_in_clear(kind: str, tmp_path: Path) -> None:
    key = "api_key" if kind == "elastic" else "bearer_token"
    with pytest.raises(ConfigError, match="in clear: use https"):
        async with made(kind, 0, tmp_path, url="http://192.0.2.1", **{key: f"file:{tmp_path}/token"}):
            pass


@pytest.mark.parametrize("kind", ["elastic", "hec"])
@pytest.mark.parametrize("body", ["<html>welcome to the hotel</html>", "", "[" * 100_000, b"\xff"])
async def test_an_answer_that_is_no_json_is_no_acknowledgement(
    kind: str, body: str | bytes, tmp_path: Path
) -> None:
    error = await _check_error(Receiver((200, body)), kind, "answered 200 with what is no JSON", tmp_path)
    assert error.retryable


async def test_what_a_portal_says_is_no_answer_of_a_collector(tmp_path: Path) -> None:
    portal = Receiver((200, "<html>welcome to the hotel</html>"))
    assert (await _check_error(portal, "otlp", "no ExportLogsServiceResponse", tmp_path)).retryable


async def test_who_is_sent_elsewhere_does_not_go_there(tmp_path: Path) -> None:
    receiver = Receiver((302, "elsewhere"))
    assert (await _check_error(receiver, "webhook", "answered 302: elsewhere", tmp_path)).retryable
    assert [path for path, _, _ in receiver.requests] == ["/webhook"]


@pytest.mark.parametrize("kind", ["otlp", "webhook", "loki", "alertmanager", "elastic"])
@pytest.mark.parametrize(("status", "retryable"), [(400, False), (413, False), (401, True), (503, True)])
async def test_only_what_is_about_the_batch_is_final(
    kind: str, status: int, tmp_path: Path, *, retryable: bool
) -> None:
    error = await _check_error(Receiver((status, "why")), kind, f"answered {status}: why", tmp_path)
    assert error.retryable is retryable


async def test_an_endless_answer_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_LIMIT_BYTES", 1 << 20)
    receiver = Receiver((200, bytes((1 << 20) + 1)))
    assert (await _check_error(receiver, "webhook", "an answer of more than", tmp_path)).retryable


def _items(*statuses: int | None) -> str:
    return json.dumps(
        {"items": [{"create": {"status": status, "error": f"why {status}"}} for status in statuses]}
    )


@pytest.mark.parametrize(
    ("body", "message", "retryable"),
    [
        (_items(201, 201), "does not speak of every document", True),
        ('{"items": {}}', "does not speak of every document", True),
        ("[]", "does not speak of every document", True),
        (_items(201, 400, 409), "1 of 3 documents not taken: why 400", False),
        (_items(201, 429, 429), "2 of 3 documents not taken: why 429", True),
        (_items(400, 429, 201), "2 of 3 documents not taken: why 429", True),
        (_items(None, 201, 201), "1 of 3 documents not taken", True),
        ('{"items": [{"create": null}, "x", {"create": "x"}]}', "3 of 3 documents not taken", True),
    ],
)
async def test_a_document_that_may_be_taken_later_is_not_refused(
    body: str, message: str, tmp_path: Path, *, retryable: bool
) -> None:
    error = await _check_error(Receiver((200, body)), "elastic", message, tmp_path, count=3)
    assert error.retryable is retryable


ACCEPTED = (200, '{"code": 0, "ackId": 7}')


@pytest.mark.parametrize(
    ("answers", "message", "retryable"),
    [
        ([(200, '{"code": 0}')], "enable indexer acknowledgement for the token", True),
        ([(200, "[]")], "enable indexer acknowledgement for the token", True),
        ([(400, '{"code": 6}')], "answered 400", False),
        ([(400, '{"code": 7}')], "answered 400", True),
        ([(400, "[]")], "answered 400", True),
        ([(403, '{"code": 4}')], "answered 403", True),
        ([ACCEPTED, (400, '{"code": 10}')], "answered 400", True),
        ([ACCEPTED, (200, '{"acks": {"7": false}}')], "not indexed within 0.3 s", True),
        ([ACCEPTED, (200, '{"acks": {"8": true}}')], "not indexed within 0.3 s", True),
        ([ACCEPTED, (200, "[]")], "not indexed within 0.3 s", True),
    ],
)
async def test_what_is_not_indexed_is_not_taken(
    answers: list[tuple[int, str | bytes]], message: str, tmp_path: Path, *, retryable: bool
) -> None:
    options = {"acknowledgement_deadline_s": 0.3}
    error = await _check_error(Receiver(*answers), "hec", message, tmp_path, **options)
    assert error.retryable is retryable


async def test_events_go_to_the_index_that_is_named(tmp_path: Path) -> None:
    receiver = Receiver(ACCEPTED, (200, INDEXED))
    async with listening(receiver) as port, made("hec", port, tmp_path, index="audit") as exporter:
        await exporter.export([event(), event()])
    (_, _, body), (path, _, question) = receiver.requests
    assert [json.loads(line)["index"] for line in body.splitlines()] == ["audit", "audit"]
    assert (path, json.loads(question)) == ("/services/collector/ack", {"acks": [7]})


@pytest.fixture
def secure(tmp_path: Path) -> ssl.SSLContext:
    """Of a receiver by the name of logs.test, for whom nobody known vouches."""
    pair = Authority(tmp_path, "authority").issue("logs.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca_file": "authority.pem", "server_name": "logs.test"}, ""),
        ({"verify": False}, ""),
        ({}, "certificate verify failed"),
        ({"server_name": "logs.test"}, "certificate verify failed"),
        ({"ca_file": "authority.pem"}, "127.0.0.1"),
        ({"ca_file": "authority.pem", "server_name": "other.test"}, r"other\.test"),
    ],
)
async def test_a_receiver_is_known_by_its_certificate(
    tls: dict[str, Any], message: str, secure: ssl.SSLContext, tmp_path: Path
) -> None:
    """Unless the settings say that it need not."""
    files = {"ca_file": tmp_path / tls["ca_file"]} if "ca_file" in tls else {}
    told = pytest.raises(ExportError, match=message) if message else nullcontext()
    receiver = Receiver()
    async with listening(receiver, secure) as port:
        options = {"url": f"https://127.0.0.1:{port}", "tls": {**tls, **files}}
        async with made("webhook", port, tmp_path, **options) as exporter:
            with told:
                await exporter.export([event()])
    assert len(receiver.requests) == (0 if message else 1)

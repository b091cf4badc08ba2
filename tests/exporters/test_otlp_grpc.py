"""OTLP by gRPC against a real server of it: TLS, tokens and addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from daemon.errors import ConfigError, ExportError
from exporters.otlp_grpc import METHOD
from tests.exporters.receiver import TOKEN
from tests.exporters.running import event, made
from tests.exporters.secure import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Collector:
    """Says what it heard, where it refuses."""

    def __init__(self) -> None:
        self.authorizations: list[Any] = []
        self.refuses, self.answer = False, b""

    async def export(self, _: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        self.authorizations.append(metadata.get("authorization"))
        if self.refuses:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"you said {metadata}")
        return self.answer


@asynccontextmanager
async def listening(
    address: str = "127.0.0.1", certificates: Certificates | None = None
) -> AsyncIterator[tuple[int, Collector]]:
    collector, (_, service, method) = Collector(), METHOD.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(collector.export)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    if certificates:
        port = server.add_secure_port(f"{address}:0", _wants_certificates(certificates))
    else:
        port = server.add_insecure_port(f"{address}:0")
    await server.start()
    yield port, collector
    await server.stop(None)


def _wants_certificates(certificates: Certificates) -> grpc.ServerCredentials:
    pair = certificates.receiver.key.read_bytes(), certificates.receiver.certificate.read_bytes()
    return grpc.ssl_server_credentials([pair], certificates.authority.read_bytes(), True)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_a_collector_has_an_address_of_either_kind(address: str, tmp_path: Path) -> None:
    async with listening(address) as (port, collector):
        options = {"protocol": "grpc", "url": f"http://{address}:{port}"}
        async with made("otlp", port, tmp_path, **options) as exporter:
            await exporter.export([event()])
    assert collector.authorizations == [None]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_without_a_port_it_is_4317(scheme: str, tmp_path: Path) -> None:
    async with made("otlp", 0, tmp_path, protocol="grpc", url=f"{scheme}://127.0.7.1") as exporter:
        with pytest.raises(ExportError, match=r"127\.0\.7\.1:4317"):
            await exporter.export([event()])


async def test_each_proves_who_it_is(certificates: Certificates, tmp_path: Path) -> None:
    tls = certificates.tls(certificates.client)
    async with listening(certificates=certificates) as (port, collector):
        url = f"https://127.0.0.1:{port}"
        async with made("otlp", port, tmp_path, protocol="grpc", url=url, tls=tls) as exporter:
            await exporter.export([event()])
    assert len(collector.authorizations) == 1


@pytest.mark.parametrize(
    ("client", "changed", "message"),
    [
        ("", {}, "UNAVAILABLE"),
        ("strange_client", {}, "UNAVAILABLE"),
        ("client", {"ca_file": "strange_authority"}, "UNAVAILABLE.*[Hh]andshake failed"),
        ("client", {"server_name": "other.test"}, "UNAVAILABLE"),
        ("client", {"ca_file": "/nowhere/ca.pem"}, "tls: /nowhere/ca.pem: No such file"),
    ],
    ids=["no certificate", "other authority", "false receiver", "wrong name", "no file"],
)
async def test_any_other_is_refused(
    client: str, changed: dict[str, str], message: str, certificates: Certificates, tmp_path: Path
) -> None:
    files = {key: getattr(certificates, name, name) for key, name in changed.items()}
    tls = certificates.tls(getattr(certificates, client) if client else None, **files)
    async with listening(certificates=certificates) as (port, collector):
        url = f"https://127.0.0.1:{port}"
        async with made("otlp", port, tmp_path, protocol="grpc", url=url, tls=tls) as exporter:
            with pytest.raises(ExportError, match=message) as raised:
                await exporter.export([event()])
    assert raised.value.retryable
    assert collector.authorizations == []


async def test_a_token_is_shown_and_not_told(tmp_path: Path) -> None:
    options = {"protocol": "grpc", "bearer_token": f"file:{tmp_path}/token"}
    async with listening() as (port, collector), made("otlp", port, tmp_path, **options) as exporter:
        await exporter.export([event()])
        collector.refuses = True
        with pytest.raises(ExportError, match="UNAUTHENTICATED: you said ") as raised:
            await exporter.export([event()])
    assert collector.authorizations == [f"Bearer {TOKEN}"] * 2
    assert TOKEN not in str(raised.value)


async def test_an_answer_of_another_protocol_is_not_taken_for_one(tmp_path: Path) -> None:
    async with listening() as (port, collector), made("otlp", port, tmp_path, protocol="grpc") as exporter:
        collector.answer = b"<html>"
        with pytest.raises(ExportError, match="no ExportLogsServiceResponse") as raised:
            await exporter.export([event()])
    assert raised.value.retryable


async def test_it_cannot_leave_the_collector_unverified(tmp_path: Path) -> None:
    options = {"protocol": "grpc", "url": "https://h", "tls": {"verify": False}}
    with pytest.raises(ConfigError, match=r"tls\.verify: .* give the receiver's ca_file"):
        async with made("otlp", 0, tmp_path, **options):
            pass

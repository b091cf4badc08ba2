"""A collector that wants TLS and a client's certificate, over HTTP and over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from daemon.errors import ExportError
from daemon.settings import TelemetrySettings
from daemon.telemetry.telemetry import sender
from tests.telemetry.certificate import Certificate, made
from tests.telemetry.collector import Collector, over_grpc, over_http

COLLECTORS: dict[str, Any] = {"http": over_http, "grpc": over_grpc}
ONE_SPAN = ExportTraceServiceRequest()
ONE_SPAN.resource_spans.add().scope_spans.add().spans.add(name="a span")
Settings = Callable[..., TelemetrySettings]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "grpc"])
def collecting(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[tuple[str, Collector]]:
    with COLLECTORS[request.param](certificate) as started:
        yield request.param, started


def settings(collecting: tuple[str, Collector], **files: Path) -> TelemetrySettings:
    protocol, collector = collecting
    return TelemetrySettings.model_validate(
        {"endpoint": collector.endpoint, "protocol": protocol, "timeout_s": 10, **files}
    )


def test_each_proves_who_it_is(collecting: tuple[str, Collector], certificate: Certificate) -> None:
    ours = {"certificate_file": certificate.certificate_file, "key_file": certificate.key_file}
    send = sender(settings(collecting, ca_file=certificate.certificate_file, **ours), "traces")
    assert send(ONE_SPAN.SerializeToString()) == b""
    assert [span.name for span in collecting[1].spans] == ["a span"]


def test_a_collector_that_nobody_vouches_for_gets_nothing(
    collecting: tuple[str, Collector], certificate: Certificate
) -> None:
    ours = {"certificate_file": certificate.certificate_file, "key_file": certificate.key_file}
    with pytest.raises(ExportError):
        sender(settings(collecting, **ours), "traces")(ONE_SPAN.SerializeToString())
    assert collecting[1].spans == []


def test_without_our_certificate_it_is_not_taken(
    collecting: tuple[str, Collector], certificate: Certificate
) -> None:
    send = sender(settings(collecting, ca_file=certificate.certificate_file), "traces")
    with pytest.raises(ExportError) as caught:
        send(ONE_SPAN.SerializeToString())
    assert caught.value.retryable
    assert collecting[1].spans == []


def test_a_file_that_is_not_there_is_named(collecting: tuple[str, Collector]) -> None:
    with pytest.raises(ExportError, match=r"/nowhere/ca\.pem"):
        sender(settings(collecting, ca_file=Path("/nowhere/ca.pem")), "traces")(b"")

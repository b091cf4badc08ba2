"""The same over gRPC, with a secret header; what waits at the end of the daemon is still sent."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from daemon.errors import ExportError
from daemon.settings import TelemetrySettings
from daemon.telemetry.over_grpc import OverGrpc
from exporters.tls import Tls
from tests.running import daemon
from tests.telemetry.collector import over_grpc
from tests.telemetry.launches import FIRST, run


@pytest.mark.root
@pytest.mark.docker
def test_a_launch_is_told_over_grpc_to_its_end(tmp_path: Path, image: str) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("Bearer 9f0c\n")
    with over_grpc() as received:
        config = (
            f'[telemetry]\nendpoint = "{received.endpoint}"\nprotocol = "grpc"\ninterval_s = 3600\n'
            f'headers = {{ Authorization = "file:{token}" }}'
        )
        with daemon(tmp_path, config) as started:
            run(started, image, FIRST, "true")
        names = {span.name for span in received.spans if span.trace_id.hex() == FIRST}
    assert {"POST /v1/sandboxes", "sandbox.validate", "sandbox.run", "sandbox.collect"} <= names
    assert {"container_kit_launches", "container_kit_sandbox_phase"} <= received.metrics.keys()
    assert {headers["authorization"] for headers in received.headers} == {"Bearer 9f0c"}
    assert "9f0c" not in (tmp_path / "daemon.log").read_text()


def test_nobody_there_is_a_reason_to_try_again() -> None:
    send = OverGrpc(TelemetrySettings(endpoint="http://127.0.0.1:9", protocol="grpc"), Tls(), "traces")
    with pytest.raises(ExportError, match=r"127\.0\.0\.1:9: UNAVAILABLE") as caught:
        send(b"")
    assert caught.value.retryable


def test_what_is_no_message_is_refused_for_good() -> None:
    with over_grpc() as received:
        settings = TelemetrySettings(endpoint=received.endpoint, protocol="grpc")
        send = OverGrpc(settings, Tls(), "traces")
        with pytest.raises(ExportError) as caught:
            send(b"\xff\xff")
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert not caught.value.retryable

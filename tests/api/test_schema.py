"""Generated requests against the API's own OpenAPI document, over the real socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import OTHER_RULES
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _relay_one(client: socket.socket, path: Path) -> None:
    with client, socket.socket(socket.AF_UNIX) as api:
        api.connect(str(path))
        back = threading.Thread(target=_copy, args=(api, client))
        back.start()
        _copy(client, api)
        back.join()


@contextmanager
def relay(path: Path) -> Iterator[str]:
    """A TCP address that leads to the Unix socket: the generator of requests speaks only TCP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_relay_one, args=(client, path), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture
def own(tmp_path: Path, image: str) -> Iterator[Daemon]:
    """With a sandbox that runs and one that has ended, and none that another test has filled."""
    with daemon(tmp_path, OTHER_RULES) as started:
        started.run(image, "true")
        started.launch(image, "sleep", "600")
        yield started


def test_no_generated_request_breaks_the_document(own: Daemon, tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(own.request("GET", "/openapi.json").json()))
    with relay(own.socket) as address:
        command = [Path(sys.executable).with_name("schemathesis"), "run", document, "--url", address]
        # The event stream and the WebSocket have no end of their own: they have tests of their own.
        endless = ["--exclude-path", "/v1/sandboxes/{id}/attach", "--exclude-path", "/v1/events"]
        options = [
            "--checks",
            CHECKS,
            "--seed",
            "1",
            "--phases",
            "coverage",
            "--request-timeout",
            "20",
            *endless,
        ]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert own.request("GET", "/healthz").json()["status"] == "ok"

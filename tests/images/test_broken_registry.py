"""What a registry answers that it should not: nobody can tell then whether an image is signed, and why."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from daemon.images.bundles import BUNDLE, BUNDLES_LIMIT
from daemon.images.policy import SignatureRequirement
from daemon.images.reference import parse
from daemon.images.registry import RegistryClient
from daemon.images.signatures import Signatures
from tests.images.signing import public_file

DIGEST = f"sha256:{'a' * 64}"
SIGNATURES, REFERRERS = f"manifests/{DIGEST.replace(':', '-')}.sig", f"referrers/{DIGEST}"
NESTED = b"[" * 50_000
NO_BUNDLE = b'{"layers": []}'
NO_BUNDLE_DIGEST = f"sha256:{sha256(NO_BUNDLE).hexdigest()}"


def listed(*digests: str) -> bytes:
    """The index of bundles with these digests."""
    return json.dumps({"manifests": [{"artifactType": BUNDLE, "digest": one} for one in digests]}).encode()


class Registry:
    """`answers` by the end of a path, `challenge` before all of them; silent about None, and has no more."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes] | None] = {}
        self.challenge = ""
        self.over = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, _ = handler.path.partition("?")
        found = next((self.answers[end] for end in self.answers if path.endswith(end)), (404, b""))
        if found is None:
            self.over.wait()
            return
        status, body = (401, b"") if self.challenge and not path.endswith("/token") else found
        handler.send_response(status)
        handler.send_header("WWW-Authenticate", self.challenge)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[tuple[Registry, str]]:
    """And its address."""
    found = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found, f"127.0.0.1:{server.server_port}"
    found.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


async def problem(address: str, folder: Path, deadline_s: float = 30) -> str:
    key = public_file(ec.generate_private_key(ec.SECP256R1()), folder / "key.pub")
    client = RegistryClient(deadline_s=deadline_s)
    try:
        asked = SignatureRequirement(keys=[key])
        found = await Signatures(client)(parse(f"{address}/team/tool"), DIGEST, asked)
    finally:
        await client.close()
    return str(found.problem)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({SIGNATURES: (200, b"<html>")}, f"{SIGNATURES}: no JSON"),
        ({SIGNATURES: (200, NESTED)}, f"{SIGNATURES}: no JSON"),
        ({SIGNATURES: (200, b"[]")}, f"{SIGNATURES}: no manifest"),
        ({SIGNATURES: (200, b'{"layers": 7}')}, "its signatures are no list of at most 50"),
        ({SIGNATURES: (503, b"")}, f"127.0.0.1: answered 503 for /v2/team/tool/{SIGNATURES}"),
        ({REFERRERS: (200, b"<html>")}, f"{REFERRERS}: no JSON"),
        ({REFERRERS: (200, NESTED)}, f"{REFERRERS}: no JSON"),
        ({REFERRERS: (200, b"[]")}, f"{REFERRERS}: no index"),
        ({REFERRERS: (200, b'{"manifests": 7}')}, "what refers to the image is no list"),
        ({REFERRERS: (200, listed(*[DIGEST] * (BUNDLES_LIMIT + 1)))}, "it has more than 50 bundles"),
        ({REFERRERS: (200, listed("latest"))}, "it lists a bundle without a digest"),
        ({REFERRERS: (200, listed(DIGEST))}, "it lists a bundle that it does not have"),
        (
            {REFERRERS: (200, listed(NO_BUNDLE_DIGEST)), NO_BUNDLE_DIGEST: (200, NO_BUNDLE)},
            "it lists as a bundle what is none",
        ),
        ({REFERRERS: (200, listed(DIGEST)), DIGEST: (200, b"{}")}, "not the bytes that were asked for"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_is_no_answer(
    registry: tuple[Registry, str], tmp_path: Path, answers: dict[str, tuple[int, bytes]], told: str
) -> None:
    found, address = registry
    found.answers |= answers
    said = await problem(address, tmp_path)
    assert said.startswith(f"whether {address}/team/tool@sha256:{'a' * 12} is signed cannot be told: ")
    assert told in said


async def test_one_that_is_silent(registry: tuple[Registry, str], tmp_path: Path) -> None:
    found, address = registry
    found.answers[SIGNATURES] = None
    assert "127.0.0.1: no answer within 0.2 s" in await problem(address, tmp_path, deadline_s=0.2)


@pytest.mark.parametrize(
    ("challenge", "token", "told"),
    [
        ('Bearer realm="http://{address}/token"', (200, b"<html>"), "127.0.0.1: gave no token, but 200"),
        ('Bearer realm="http://{address}/token"', (200, NESTED), "127.0.0.1: gave no token, but 200"),
        ('Bearer realm="http://{address}/token"', (200, b"{}"), "127.0.0.1: gave no token, but 200"),
        ('Bearer realm="http://{address}/token"', (500, b"[]"), "127.0.0.1: gave no token, but 500"),
        ('Bearer realm="http://example.org/token"', (404, b""), "for a token: not over plain HTTP"),
        ("Bearer", (404, b""), "asks for what is not supported: 'Bearer'"),
        ("Negotiate", (404, b""), "asks for what is not supported: 'Negotiate'"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_one_that_asks_who_we_are_and_does_not_mean_it(
    registry: tuple[Registry, str], tmp_path: Path, challenge: str, token: tuple[int, bytes], told: str
) -> None:
    found, address = registry
    found.challenge = challenge.format(address=address)
    found.answers["/token"] = token
    said = await problem(address, tmp_path)
    assert "cannot be told: " in said
    assert told in said

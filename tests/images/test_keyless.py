"""Signatures by identities: an authority and logs of the tests' own, a real registry, and no network."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ConfigError
from daemon.images import keyless
from daemon.images.bundles import SIGNED, STATEMENT_TYPE
from daemon.images.judgement import judge_signature
from daemon.images.keyless import Identity, Keyless, Unverified, check_root
from daemon.images.policy import FILE, SignatureRequirement, read_policy
from daemon.images.reference import parse
from daemon.images.registry import RegistryClient
from daemon.images.signatures import Signatures
from tests.images.authority import Authority, now
from tests.images.local_registry import registry
from tests.images.signing import public_file
from tests.images.test_bundles import DIGEST, FIRST, OTHER, bundle, refer

pytestmark = [pytest.mark.root]

AUTHORITY, STRANGER = Authority(), Authority()
ISSUER = "https://issuer.example.org"
RELEASE, NIGHTLY = "https://example.org/release", "https://example.org/nightly"
IDENTITIES = [Identity(issuer=ISSUER, subject=RELEASE), Identity(issuer=ISSUER, subject=NIGHTLY)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("keyless")) as address:
        yield address


def statement(digest: str, name: str, kind: str = SIGNED) -> dict[str, Any]:
    subject = {"digest": {"sha256": digest[7:]}, "name": name}
    return {"_type": STATEMENT_TYPE, "predicateType": kind, "subject": [subject], "predicate": {}}


def by(
    subject: str, name: str, digest: str = DIGEST, issuer: str = ISSUER, authority: Authority = AUTHORITY
) -> bytes:
    return json.dumps(authority.bundle(statement(digest, name), subject, issuer)).encode()


async def said(host: str, repository: str, folder: Path, threshold: int = 1, keys: bool = False) -> str:
    files = [public_file(FIRST, folder / "first.pub")] if keys else []
    asked = SignatureRequirement(keys=files, identities=IDENTITIES, threshold=threshold)
    client = RegistryClient(deadline_s=30)
    signatures = Signatures(client, Keyless(AUTHORITY.root(folder / "root.json")))
    try:
        found = judge_signature(await signatures(parse(f"{host}/{repository}"), DIGEST, asked))
    finally:
        await client.close()
    return getattr(found, "reason", None) or str(getattr(found, "detail"))  # noqa: B009


async def test_signed_by_an_identity_of_the_policy(host: str, tmp_path: Path) -> None:
    assert "is not signed" in await said(host, "k/one", tmp_path)
    refer(host, "k/one", by(RELEASE, f"{host}/k/one"))
    assert f"is signed by {RELEASE} ({ISSUER})" in await said(host, "k/one", tmp_path)


async def test_what_is_no_signature_by_one(host: str, tmp_path: Path) -> None:
    here = f"{host}/k/two"
    for content, why in {
        by("https://example.org/other", here): "one by a certificate is not good: VerificationError: 0 of 2",
        by(RELEASE, here, issuer="https://other.example.org"): "one by a certificate is not good",
        by(RELEASE, here, authority=STRANGER): "failed to build timestamp certificate chain",
        by(RELEASE, here, digest=OTHER): "one is of another image",
        by(RELEASE, f"{host}/k/one"): f"one was made for {host}/k/one",
    }.items():
        refer(host, "k/two", content)
        assert why in await said(host, "k/two", tmp_path)


async def test_identities_and_keys_are_counted_together_and_each_once(host: str, tmp_path: Path) -> None:
    here = f"{host}/k/three"
    refer(host, "k/three", by(RELEASE, here), by(RELEASE, here))
    assert "1 of 2 signatures" in await said(host, "k/three", tmp_path, threshold=2)
    refer(host, "k/three", by(RELEASE, here), by(NIGHTLY, here), bundle(FIRST, DIGEST, here))
    assert "is signed by first.pub, " in await said(host, "k/three", tmp_path, threshold=3, keys=True)


def changed(made: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(made))
    place = copy
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return dict(copy)


ENTRY = ("verificationMaterial", "tlogEntries", 0)
ZEROS = base64.b64encode(bytes(64)).decode()


def tampered() -> Iterator[tuple[str, dict[str, Any]]]:
    made = AUTHORITY.bundle(statement(DIGEST, "r.example/x"), RELEASE, ISSUER)
    another = AUTHORITY.bundle(statement(DIGEST, "r.example/x"), RELEASE, ISSUER)
    certificate = another["verificationMaterial"]["certificate"]
    payload = base64.b64encode(json.dumps(statement(OTHER, "r.example/x")).encode()).decode()
    yield "payload", changed(made, "dsseEnvelope", "payload", to=payload)
    yield "signature", changed(made, "dsseEnvelope", "signatures", 0, "sig", to=ZEROS)
    yield "certificate", changed(made, "verificationMaterial", "certificate", to=certificate)
    yield "entry of another", changed(made, *ENTRY, to=another["verificationMaterial"]["tlogEntries"][0])
    yield "no entry", changed(made, "verificationMaterial", "tlogEntries", to=[])
    yield "promise", changed(made, *ENTRY, "inclusionPromise", "signedEntryTimestamp", to=ZEROS)
    yield "time", changed(made, *ENTRY, "integratedTime", to=str(int(now().timestamp()) + 60))
    yield "no promise of a time", changed(made, *ENTRY, "inclusionPromise", to=None)
    yield "root of the log", changed(made, *ENTRY, "inclusionProof", "rootHash", to=ZEROS[:43] + "=")
    late = {"start": now() - timedelta(days=2), "logged": now()}
    yield "after its time", AUTHORITY.bundle(statement(DIGEST, "r.example/x"), RELEASE, ISSUER, **late)


TAMPERED = dict(tampered())


@pytest.fixture
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyless:
    """Of the authority, in a process that reaches nobody."""

    def refuse(*_: object) -> None:
        raise AssertionError("it asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return Keyless(AUTHORITY.root(tmp_path / "root.json"))


async def test_a_good_one_is_verified_offline_long_after(verifier: Keyless) -> None:
    start = now() - timedelta(days=1000)
    made = AUTHORITY.bundle(statement(DIGEST, "r.example/x"), RELEASE, ISSUER, start=start)
    assert (await verifier.verify(json.dumps(made).encode(), IDENTITIES)).identity == IDENTITIES[0]


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_tampered_one_is_refused(verifier: Keyless, name: str) -> None:
    with pytest.raises(Unverified):
        await verifier.verify(json.dumps(TAMPERED[name]).encode(), IDENTITIES)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000, b'{"mediaType": 5}'])
async def test_what_is_no_bundle_is_refused(verifier: Keyless, content: bytes) -> None:
    with pytest.raises(Unverified):
        await verifier.verify(content, IDENTITIES)


async def test_a_root_that_is_replaced_counts_from_then_on(verifier: Keyless, tmp_path: Path) -> None:
    good = by(RELEASE, "r.example/x")
    await verifier.verify(good, IDENTITIES)
    STRANGER.root(tmp_path / "root.json")
    with pytest.raises(Unverified):
        await verifier.verify(good, IDENTITIES)
    (tmp_path / "root.json").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await verifier.verify(good, IDENTITIES)


async def test_a_root_that_is_none_verifies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text(json.dumps({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}))
    check_root(path)
    with pytest.raises(ConfigError, match="is no trusted root"):
        await Keyless(path).verify(by(RELEASE, "r.example/x"), IDENTITIES)


POLICY = """
[local]
images = []
why = "none for the tests"
signature = { identities = [{ issuer = "https://i.example", subject = "s" }] }
"""


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ("", "name its file as `trusted_root`"),
        ('[sigstore]\ntrusted_root = "/nowhere/root.json"', "/nowhere/root.json: cannot be read"),
        (f'[sigstore]\ntrusted_root = "{__file__}"', "is no trusted root"),
    ],
)
def test_identities_without_a_usable_root_are_an_error(tmp_path: Path, trust: str, message: str) -> None:
    (tmp_path / FILE).write_text(POLICY + trust)
    with pytest.raises(ConfigError, match=message):
        read_policy(tmp_path / FILE)


def test_identities_without_the_library_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyless.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install"):
        check_root(AUTHORITY.root(tmp_path / "root.json"))

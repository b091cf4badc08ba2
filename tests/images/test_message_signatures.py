"""Bundles that sign the manifest's own bytes, and no statement about it; in a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from daemon.images.bundles import BUNDLE
from daemon.images.judgement import judge_signature
from daemon.images.keyless import Keyless
from daemon.images.policy import SignatureRequirement
from daemon.images.reference import parse
from daemon.images.registry import RegistryClient
from daemon.images.signatures import Signatures
from tests.images.authority import Authority, of_message
from tests.images.local_registry import registry
from tests.images.signing import CONFIG, PrivateKey, blob, public_file, put, signature
from tests.images.test_bundles import MANIFEST, refer
from tests.images.test_keyless import IDENTITIES, ISSUER, RELEASE

pytestmark = [pytest.mark.root]
KEY, AUTHORITY, STRANGER = ed25519.Ed25519PrivateKey.generate(), Authority(), Authority()
OTHER_BYTES = b'{"schemaVersion": 2}'


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("messages")) as address:
        yield address


def manifest(host: str, repository: str) -> bytes:
    """Of an image without layers, that is in the registry."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(CONFIG)}
    config["digest"] = blob(host, repository, CONFIG)
    annotations = {"org.example.made-for": repository}
    made = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    content = json.dumps({**made, "annotations": annotations}).encode()
    put(host, f"/v2/{repository}/manifests/1", content, MANIFEST)
    return content


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def by_key(key: PrivateKey, message: bytes, said: bytes | None = None, **more: Any) -> bytes:
    """`said` is what the digest in the bundle is of, if not the message."""
    part = of_message(signature(key, message), message if said is None else said)
    return json.dumps({"mediaType": BUNDLE, **part, **more}).encode()


async def found(host: str, repository: str, of: str, folder: Path, **asked: Any) -> str:
    requirement = SignatureRequirement(
        keys=[public_file(KEY, folder / "key.pub")], identities=IDENTITIES, **asked
    )
    client = RegistryClient(deadline_s=30)
    signatures = Signatures(client, Keyless(AUTHORITY.root(folder / "root.json")))
    try:
        verdict = judge_signature(await signatures(parse(f"{host}/{repository}"), of, requirement))
    finally:
        await client.close()
    return getattr(verdict, "reason", None) or str(getattr(verdict, "detail"))  # noqa: B009


async def test_of_the_manifest_by_a_key_and_by_an_identity(host: str, tmp_path: Path) -> None:
    content = manifest(host, "m/one")
    of = digest(content)
    by_identity = json.dumps(AUTHORITY.message_bundle(content, RELEASE, ISSUER)).encode()
    refer(host, "m/one", by_key(KEY, content), by_identity, of=of)
    assert "names no repository" in await found(host, "m/one", of, tmp_path)
    both = await found(host, "m/one", of, tmp_path, any_repository=True, threshold=2)
    assert f"is signed by {RELEASE} ({ISSUER}), key.pub" in both


async def test_what_does_not_count_and_why(host: str, tmp_path: Path) -> None:
    content = manifest(host, "m/two")
    of, stranger = digest(content), ec.generate_private_key(ec.SECP256R1())
    good = AUTHORITY.message_bundle(content, RELEASE, ISSUER)
    lying = AUTHORITY.message_bundle(OTHER_BYTES, RELEASE, ISSUER) | of_message(b"x", content)
    strange = STRANGER.message_bundle(content, RELEASE, ISSUER)
    nobody = AUTHORITY.message_bundle(content, "https://example.org/other", ISSUER)
    hashed = {"algorithm": "SHA2_512", "digest": ""}
    for bundle, why in {
        by_key(KEY, OTHER_BYTES): "one is of other bytes than the image's manifest",
        by_key(KEY, OTHER_BYTES, said=content): "one is by another key",
        by_key(stranger, content): "one is by another key",
        by_key(KEY, content, dsseEnvelope={}): "one cannot be read",
        by_key(KEY, content, messageSignature={"messageDigest": hashed}): "one cannot be read",
        json.dumps(good | {"dsseEnvelope": {}}).encode(): "one cannot be read",
        json.dumps(lying).encode(): "one by a certificate is not good",
        json.dumps(strange).encode(): "failed to build timestamp certificate chain",
        json.dumps(nobody).encode(): "one by a certificate is not good",
    }.items():
        refer(host, "m/two", bundle, of=of)
        assert why in await found(host, "m/two", of, tmp_path, any_repository=True)


async def test_of_a_manifest_that_the_registry_does_not_have(host: str, tmp_path: Path) -> None:
    gone = digest(OTHER_BYTES)
    refer(host, "m/three", by_key(KEY, OTHER_BYTES), of=gone)
    said = await found(host, "m/three", gone, tmp_path, any_repository=True)
    assert "cannot be told: it has signatures of a manifest that it does not have" in said

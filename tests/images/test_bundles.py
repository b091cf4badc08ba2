"""Bundles of cosign 3, in a real registry without the referrers API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from daemon.images.bundles import BUNDLE, SIGNED, STATEMENT, STATEMENT_TYPE, Envelope
from daemon.images.judgement import judge_signature
from daemon.images.policy import SignatureRequirement
from daemon.images.reference import Reference, parse
from daemon.images.registry import RegistryClient
from daemon.images.signatures import Signatures
from tests.images.local_registry import registry
from tests.images.signing import CONFIG, PrivateKey, blob, public_file, put, sign, signature

pytestmark = [pytest.mark.root]

FIRST, SECOND = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("bundles")) as address:
        yield address


def bundle(key: PrivateKey, digest: str, name: str, kind: str = SIGNED) -> bytes:
    subject = {"digest": {"sha256": digest[7:]}} | ({"name": name} if name else {})
    statement = {"_type": STATEMENT_TYPE, "predicateType": kind, "subject": [subject], "predicate": {}}
    payload = json.dumps(statement).encode()
    made = base64.b64encode(signature(key, Envelope(b"", payload).signed)).decode()
    inside = {"payloadType": STATEMENT, "payload": base64.b64encode(payload).decode()}
    return json.dumps(
        {"mediaType": BUNDLE, "dsseEnvelope": inside | {"signatures": [{"sig": made}]}}
    ).encode()


def refer(host: str, repository: str, *contents: bytes, of: str = DIGEST) -> None:
    """Under the tag of the referrers of that digest."""
    listed = []
    for content in contents:
        layer = {"mediaType": BUNDLE, "size": len(content), "digest": blob(host, repository, content)}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "size": len(CONFIG)}
        config["digest"] = blob(host, repository, CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        data = json.dumps(manifest).encode()
        digest = f"sha256:{sha256(data).hexdigest()}"
        put(host, f"/v2/{repository}/manifests/{digest}", data, MANIFEST)
        listed.append({"mediaType": MANIFEST, "size": len(data), "digest": digest, "artifactType": BUNDLE})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
    put(host, f"/v2/{repository}/manifests/{of.replace(':', '-')}", json.dumps(index).encode(), INDEX)


async def said(
    host: str,
    repository: str,
    folder: Path,
    threshold: int = 1,
    any_: bool = False,
    client: RegistryClient | None = None,
) -> str:
    keys = [public_file(FIRST, folder / "first.pub"), public_file(SECOND, folder / "second.pub")]
    asked = SignatureRequirement(keys=keys, threshold=threshold, any_repository=any_)
    client = client or RegistryClient(deadline_s=30)
    try:
        verdict = judge_signature(await Signatures(client)(parse(f"{host}/{repository}"), DIGEST, asked))
    finally:
        await client.close()
    return getattr(verdict, "reason", None) or str(getattr(verdict, "detail"))  # noqa: B009


async def test_signed_and_unsigned(host: str, tmp_path: Path) -> None:
    assert "is not signed" in await said(host, "b/one", tmp_path)
    refer(host, "b/one", bundle(FIRST, DIGEST, f"{host}/b/one"))
    assert "is signed by first.pub" in await said(host, "b/one", tmp_path)


async def test_what_is_no_signature_of_this_image_here(host: str, tmp_path: Path) -> None:
    here = f"{host}/b/two"
    for content, why in {
        bundle(ec.generate_private_key(ec.SECP256R1()), DIGEST, here): "one is by another key",
        bundle(FIRST, OTHER, here): "one is of another image",
        bundle(FIRST, DIGEST, f"{host}/b/one"): f"one was made for {host}/b/one",
        bundle(FIRST, DIGEST, ""): "one names no repository",
        bundle(FIRST, DIGEST, here, kind="https://slsa.dev/provenance/v1"): "one is no signature of an image",
        b"{}": "one cannot be read",
    }.items():
        refer(host, "b/two", content)
        assert why in await said(host, "b/two", tmp_path)


async def test_one_without_a_repository_counts_where_the_policy_says_so(host: str, tmp_path: Path) -> None:
    refer(host, "b/three", bundle(SECOND, DIGEST, ""))
    assert "is signed by second.pub" in await said(host, "b/three", tmp_path, any_=True)


async def test_a_tag_and_a_bundle_by_two_keys_are_two(host: str, tmp_path: Path) -> None:
    here = f"{host}/b/four"
    sign(host, "b/four", DIGEST, FIRST)
    refer(host, "b/four", bundle(FIRST, DIGEST, here))
    assert "1 of 2 signatures" in await said(host, "b/four", tmp_path, threshold=2)
    refer(host, "b/four", bundle(SECOND, DIGEST, here))
    assert "is signed by first.pub, second.pub" in await said(host, "b/four", tmp_path, threshold=2)


async def test_a_registry_that_is_killed_in_between_denies_with_the_reason(tmp_path: Path) -> None:
    """It has answered for the tag, and is gone when it is asked for the bundles."""
    with ExitStack() as stack:
        address = stack.enter_context(registry(tmp_path))

        class Killed(RegistryClient):
            async def referrers(self, repository: Reference, digest: str) -> dict[str, object]:
                stack.close()
                return await super().referrers(repository, digest)

        refer(address, "b/five", bundle(FIRST, DIGEST, f"{address}/b/five"))
        assert "cannot be told" in await said(address, "b/five", tmp_path, client=Killed(deadline_s=30))


def test_what_is_signed_says_the_lengths() -> None:
    assert Envelope(b"", b"hello").signed == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"

"""Sigstore bundles (v0.3) as cosign 3 attaches them: a DSSE envelope around an in-toto statement, or the
signature of a message that is not in the bundle.

Sources: the Sigstore bundle and DSSE specifications, in-toto Statement v1, OCI distribution 1.1.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from daemon.images.reference import BadReference, Reference, parse
from daemon.images.registry import Absent, RegistryClient, RegistryError

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
NO_REPOSITORY = "one names no repository (see `any_repository`)"
BUNDLE_LIMIT_BYTES = 256 * 1024
BUNDLES_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Envelope:
    signature: bytes
    payload: bytes

    @property
    def signed(self) -> bytes:
        """What the signature is of (DSSE's pre-authentication encoding)."""
        kind = STATEMENT.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)


@dataclass(frozen=True, slots=True)
class Message:
    """`digest` is the message's, as the bundle has it: "sha256:..."."""

    signature: bytes
    digest: str


async def bundles(registry: RegistryClient, reference: Reference, digest: str) -> AsyncIterator[bytes]:
    """Those that the registry has of this manifest. Raises RegistryError."""
    index = await registry.referrers(reference, digest)
    listed = index.get("manifests", [])
    if not isinstance(listed, list):
        raise RegistryError("what refers to the image is no list")
    found = [one for one in listed if isinstance(one, dict) and one.get("artifactType") == BUNDLE]
    if len(found) > BUNDLES_LIMIT:
        raise RegistryError(f"it has more than {BUNDLES_LIMIT} bundles")
    for one in found:
        try:
            yield await _bundle(registry, reference, str(one.get("digest")))
        except Absent as error:
            raise RegistryError(f"it lists a bundle that it does not have: {error}") from error


async def _bundle(registry: RegistryClient, reference: Reference, digest: str) -> bytes:
    if not digest.startswith("sha256:"):
        raise RegistryError("it lists a bundle without a digest")
    manifest = await registry.manifest(reference, digest)
    match manifest.get("layers"):
        case [{"mediaType": str(kind), "digest": str(blob)}] if kind == BUNDLE:
            return await registry.blob(reference, blob, BUNDLE_LIMIT_BYTES)
    raise RegistryError("it lists as a bundle what is none")


def envelope(content: bytes) -> Envelope | None:
    """None where it holds no statement with one signature: a bundle of v0.3 has just one."""
    try:
        bundle = json.loads(content)
        found = bundle["dsseEnvelope"]
        (signature,) = found["signatures"]
        if bundle["mediaType"] != BUNDLE or found["payloadType"] != STATEMENT:
            return None
        return Envelope(_decoded(signature["sig"]), _decoded(found["payload"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def message(content: bytes) -> Message | None:
    """None where it holds no signature of a message that is told by its SHA-256."""
    try:
        bundle = json.loads(content)
        found = bundle["messageSignature"]
        hashed = found["messageDigest"]
        if bundle["mediaType"] != BUNDLE or hashed["algorithm"] != "SHA2_256" or "dsseEnvelope" in bundle:
            return None
        return Message(_decoded(found["signature"]), f"sha256:{_decoded(hashed['digest']).hex()}")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def has_certificate(content: bytes) -> bool:
    """Whether a bundle is by an identity, and not by a key."""
    try:
        return bool(json.loads(content)["verificationMaterial"].get("certificate"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def problem(payload: bytes, reference: Reference, digest: str, any_repository: bool) -> str | None:
    """Why a statement is no signature of this image here; an attestation about it is none either."""
    try:
        statement = json.loads(payload)
        kinds = statement["_type"], statement["predicateType"]
        subjects = [one for one in statement["subject"] if f"sha256:{one['digest']['sha256']}" == digest]
        if kinds != (STATEMENT_TYPE, SIGNED):
            return "one is no signature of an image"
        if not subjects:
            return "one is of another image"
        return _elsewhere(subjects[0], reference, any_repository)
    except (ValueError, KeyError, TypeError, BadReference, RecursionError):
        return "one says nothing that can be understood"


def _elsewhere(subject: dict[str, Any], reference: Reference, any_repository: bool) -> str | None:
    said = subject.get("name")
    if not said:
        return None if any_repository else NO_REPOSITORY
    name = parse(str(said)).name
    return None if name == reference.name else f"one was made for {name}"

"""Signatures of images, as cosign keeps them: by keys in the tag `sha256-DIGEST.sig` or as bundles, by
identities as bundles.

What is checked, in this order: that the key, or a certificate of the identity, signed these very bytes; only
then what they say: that they are a signature of an image, of this manifest, and of this repository, or one
that was signed elsewhere would do after it was copied here. Source: cosign's signature specification.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from daemon.errors import ConfigError
from daemon.images.bundles import (
    NO_REPOSITORY,
    STATEMENT,
    Envelope,
    bundles,
    envelope,
    has_certificate,
    message,
)
from daemon.images.bundles import problem as problem_of_statement
from daemon.images.findings import SignatureFindings
from daemon.images.keyless import Identity, Keyless, Unverified
from daemon.images.policy import SignatureRequirement
from daemon.images.reference import BadReference, Reference, parse
from daemon.images.registry import Absent, RegistryClient, RegistryError
from daemon.images.single_flight import SingleFlight

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
TYPES = frozenset({"cosign container image signature", "https://sigstore.dev/cosign/sign/v1"})
PAYLOAD_LIMIT_BYTES = 64 * 1024
SIGNATURES_LIMIT = 50
REMEMBERED = 1000

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is its file's; `digest` tells keys apart, whatever their files are called."""

    name: str
    digest: str
    public: PublicKey


@dataclass(frozen=True, slots=True)
class Found:
    """Whose signatures are good, and why others are not."""

    signers: tuple[str, ...]
    remarks: tuple[str, ...]
    enough: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """`problem` reads what was signed: it is asked only after it was verified. `bundle` is what may be by an
    identity, of a statement unless it `is_message`. `refusal`: there is nothing to verify."""

    signed: bytes = b""
    signature: bytes = b""
    problem: Callable[[], str | None] = lambda: None
    bundle: bytes = b""
    is_message: bool = False
    refusal: str = ""


class Signatures:
    """A good signature stays good, so it is remembered; that there is none is asked anew each time."""

    def __init__(self, registry: RegistryClient, keyless: Keyless | None = None) -> None:
        self._registry = registry
        self._keyless = keyless
        self._known: SingleFlight[tuple[object, ...], Found] = SingleFlight(REMEMBERED, lambda f: f.enough)

    async def __call__(
        self, reference: Reference, manifest_digest: str, requirement: SignatureRequirement
    ) -> SignatureFindings:
        named = f"{reference.name}@{manifest_digest[:19]}"

        def cannot(problem: str, remedy: str) -> SignatureFindings:
            return SignatureFindings(
                image=named, threshold=requirement.threshold, problem=problem, remedy=remedy
            )

        try:
            keys = list(_keys(requirement))
            asked = requirement.threshold, requirement.any_repository, self._trust(requirement)
            key = (reference.name, manifest_digest, *(one.digest for one in keys), *asked)
            found = await self._known.get(
                key, lambda: self._find(reference, manifest_digest, keys, requirement)
            )
        except Absent:
            return cannot(f"{named} is not signed", "sign it with `cosign sign --key`, or take a signed one")
        except RegistryError as error:
            reason = f"whether {named} is signed cannot be told: {error}"
            return cannot(reason, "try again when the registry answers")
        except ConfigError as error:
            return cannot(f"signatures by identities cannot be verified: {error}", "correct [sigstore]")
        except (OSError, ValueError) as error:
            return cannot(f"a key of the policy cannot be used: {error}", "correct `keys` in images.toml")
        return SignatureFindings(
            image=named, threshold=requirement.threshold, signers=found.signers, refused=found.remarks
        )

    def _trust(self, requirement: SignatureRequirement) -> tuple[object, ...]:
        """What a signature by an identity is verified by. Raises ConfigError."""
        if not requirement.identities:
            return ()
        if self._keyless is None:
            raise ConfigError("no trusted root is known")
        return (*requirement.identities, sha256(self._keyless.content()).hexdigest())

    async def _find(
        self, reference: Reference, digest: str, keys: list[Key], requirement: SignatureRequirement
    ) -> Found:
        signers: dict[object, str] = {}
        remarks: list[str] = []
        async for claim in self._claims(reference, digest, requirement.any_repository):
            try:
                signer, name = await self._signer(claim, keys, requirement.identities)
            except Unverified as error:
                remarks.append(str(error))
                continue
            if (problem := claim.problem()) is not None:
                remarks.append(problem)
            else:
                signers[signer] = name
        if not signers and not remarks:
            raise Absent(digest)
        enough = len(signers) >= requirement.threshold
        return Found(tuple(sorted(signers.values())), tuple(remarks), enough)

    async def _signer(self, claim: Claim, keys: list[Key], identities: list[Identity]) -> tuple[object, str]:
        """One for each key, whatever its files are called, or identity; and its name. Raises Unverified."""
        if claim.refusal:
            raise Unverified(claim.refusal)
        for key in keys:
            if _signed(key, claim.signed, claim.signature):
                return key.digest, key.name
        if identities and self._keyless is not None and has_certificate(claim.bundle):
            identity = await self._identity(self._keyless, claim, identities)
            return identity, str(identity)
        raise Unverified("one is by another key" if claim.signature else "one cannot be read")

    @staticmethod
    async def _identity(keyless: Keyless, claim: Claim, identities: list[Identity]) -> Identity:
        try:
            if claim.is_message:
                return await keyless.verify_message(claim.bundle, claim.signed, identities)
            verified = await keyless.verify(claim.bundle, identities)
        except Unverified as error:
            raise Unverified(f"one by a certificate is not good: {error}") from error
        if Envelope(b"", verified.payload).signed != claim.signed or verified.payload_type != STATEMENT:
            raise Unverified("one by a certificate can be read in two ways")
        return verified.identity

    async def _claims(self, reference: Reference, digest: str, any_repository: bool) -> AsyncIterator[Claim]:
        async for claim in self._tagged(reference, digest):
            yield claim
        async for content in bundles(self._registry, reference, digest):
            if (found := envelope(content)) is None:
                yield await self._message(content, reference, digest, any_repository)
                continue
            problem = partial(problem_of_statement, found.payload, reference, digest, any_repository)
            yield Claim(found.signed, found.signature, problem, content)

    async def _message(
        self, content: bytes, reference: Reference, digest: str, any_repository: bool
    ) -> Claim:
        """Of the manifest itself, byte by byte: it names neither an image nor a repository."""
        found = message(content)
        if found is None:
            return Claim(refusal="one cannot be read")
        if found.digest != digest:
            return Claim(refusal="one is of other bytes than the image's manifest")
        try:
            signed = await self._registry.manifest_content(reference, digest)
        except Absent as error:
            raise RegistryError(f"it has signatures of a manifest that it does not have: {error}") from error
        problem = None if any_repository else NO_REPOSITORY
        return Claim(signed, found.signature, lambda: problem, content, is_message=True)

    async def _tagged(self, reference: Reference, digest: str) -> AsyncIterator[Claim]:
        try:
            manifest = await self._registry.manifest(reference, f"{digest.replace(':', '-')}.sig")
        except Absent:
            return
        for layer in _layers(manifest):
            payload = await self._registry.blob(reference, str(layer["digest"]), PAYLOAD_LIMIT_BYTES)
            yield Claim(payload, _signature(layer), partial(_problem, payload, reference, digest))


def _keys(requirement: SignatureRequirement) -> Iterator[Key]:
    """Read anew: they may have been replaced. Raises OSError, ValueError."""
    for path in requirement.keys:
        try:
            public = load_pem_public_key(path.read_bytes())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"{path}: holds no public key in PEM: {error}") from error
        if not isinstance(public, PublicKey):
            raise ValueError(f"{path}: neither an EC, an Ed25519 nor an RSA key")  # noqa: TRY004
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        yield Key(path.name, sha256(der).hexdigest(), public)


def _layers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that are signatures. Raises RegistryError."""
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > SIGNATURES_LIMIT:
        raise RegistryError(f"its signatures are no list of at most {SIGNATURES_LIMIT}")
    for layer in layers:
        if isinstance(layer, dict) and layer.get("mediaType") == PAYLOAD and "digest" in layer:
            yield layer


def _signature(layer: dict[str, Any]) -> bytes:
    """Empty, which no key made, where it has none."""
    try:
        return base64.b64decode(layer["annotations"][ANNOTATION], validate=True)
    except (KeyError, TypeError, ValueError):
        return b""


def _signed(key: Key, payload: bytes, signature: bytes) -> bool:
    """With SHA-256 whatever the key, as cosign does it."""
    try:
        if isinstance(key.public, ec.EllipticCurvePublicKey):
            key.public.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key.public, ed25519.Ed25519PublicKey):
            key.public.verify(signature, payload)
        else:
            key.public.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        return False
    return True


def _problem(payload: bytes, reference: Reference, digest: str) -> str | None:
    """Why what was signed is no signature of this image here."""
    try:
        critical = json.loads(payload)["critical"]
        kind, signed = critical["type"], critical["image"]["docker-manifest-digest"]
        name = parse(str(critical["identity"]["docker-reference"])).name
    except (ValueError, KeyError, TypeError, BadReference):
        return "one says nothing that can be understood"
    if kind not in TYPES:
        return "one is no signature of an image"
    if signed != digest:
        return "one is of another image"
    if name != reference.name:
        return f"one was made for {name}"
    return None

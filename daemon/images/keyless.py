"""Signatures by certificates of an identity (keyless), verified offline against a trusted root: a file.

`sigstore` does the verifying: the certificate's chain, its transparency (SCT), the log's entry about this
signature, and the times. It is an extra and heavy, so it is imported when it is first needed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from daemon.errors import ConfigError
from daemon.images.beside import beside

if TYPE_CHECKING:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier, policy

T = TypeVar("T")

ROOT_BYTES = 1 << 20
MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot"


class Unverified(Exception):
    """Why a bundle is no signature by one of the identities."""


class Identity(BaseModel):
    """Of a certificate: who signed (an address or URI), and who vouches for that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, max_length=512)
    subject: str = Field(min_length=1, max_length=512)

    def __str__(self) -> str:
        return f"{self.subject} ({self.issuer})"


@dataclass(frozen=True, slots=True)
class Verified:
    identity: Identity
    payload_type: str
    payload: bytes


class Keyless:
    """`root` is a trusted_root.json of Sigstore's, as `cosign trusted-root create` writes it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: tuple[bytes, Verifier] | None = None

    async def verify(self, bundle: bytes, identities: Iterable[Identity]) -> Verified:
        """A statement. Raises Unverified, and ConfigError where the root or the library is not there."""

        def statement(verifier: Verifier, bundle: Bundle, wanted: policy.AnyOf) -> tuple[str, bytes]:
            return verifier.verify_dsse(bundle, wanted)

        identity, (kind, payload) = await beside(self._verify, bundle, tuple(identities), statement)
        return Verified(identity, kind, payload)

    async def verify_message(self, bundle: bytes, message: bytes, identities: Iterable[Identity]) -> Identity:
        """That the bundle is a signature of these very bytes. Raises as `verify` does."""

        def artifact(verifier: Verifier, bundle: Bundle, wanted: policy.AnyOf) -> None:
            verifier.verify_artifact(message, bundle, wanted)

        identity, _ = await beside(self._verify, bundle, tuple(identities), artifact)
        return identity

    def content(self) -> bytes:
        """Of the root, which is read anew: it may have been replaced. Raises ConfigError."""
        return read_root(self._root)

    def _verify(
        self,
        content: bytes,
        identities: tuple[Identity, ...],
        check: Callable[[Verifier, Bundle, policy.AnyOf], T],
    ) -> tuple[Identity, T]:
        verifier = self._verifier()
        from sigstore.models import Bundle
        from sigstore.verify import policy

        known = {one: policy.Identity(identity=one.subject, issuer=one.issuer) for one in identities}
        try:
            bundle = Bundle.from_json(content)
            found = check(verifier, bundle, policy.AnyOf([*known.values()]))
        except Exception as error:  # whatever a bundle provokes in the library and what that parses with
            raise Unverified(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        for identity, wanted in known.items():
            if _is(wanted, bundle):
                return identity, found
        raise Unverified("by another identity")

    def _verifier(self) -> Verifier:
        content = self.content()
        if self._known is None or self._known[0] != content:
            self._known = (content, _made(self._root, content))
        return self._known[1]


def _is(wanted: policy.Identity, bundle: Bundle) -> bool:
    from sigstore.errors import VerificationError

    try:
        wanted.verify(bundle.signing_certificate)
    except VerificationError:
        return False
    return True


def read_root(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > ROOT_BYTES:
        raise ConfigError(f"{path}: has over {ROOT_BYTES} bytes")
    return content


def check_root(path: Path | None) -> None:
    """Raises ConfigError where it can be told without the library that nothing could be verified by it."""
    if path is None:
        raise ConfigError("`identities` need a trusted root: name its file as `trusted_root` in [sigstore]")
    if importlib.util.find_spec("sigstore") is None:
        raise ConfigError("`identities` need sigstore: pip install 'container-kit[sigstore]'")
    try:
        kind = json.loads(read_root(path))["mediaType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = None
    if not str(kind).startswith(MEDIA_TYPE):
        raise ConfigError(f"{path}: is no trusted root of Sigstore's")


def _made(path: Path, content: bytes) -> Verifier:
    try:
        from sigstore.models import TrustedRoot
        from sigstore.verify import Verifier
        from sigstore_models.trustroot.v1 import TrustedRoot as Document
    except ImportError as error:
        raise ConfigError(
            f"sigstore cannot be used: {error}: pip install 'container-kit[sigstore]'"
        ) from error
    try:
        return Verifier(trusted_root=TrustedRoot(Document.from_json(content)))
    except Exception as error:  # of the library and of what that parses with: no common class
        raise ConfigError(f"{path}: is no trusted root of Sigstore's: {str(error)[:200]}") from error

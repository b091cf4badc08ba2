"""The key that signs checkpoints: made at the first start, or given as a systemd credential."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from daemon.audit.checkpoint import Checkpoint, opened, sign
from daemon.audit.note import ED25519, key_id, signed, signed_text
from daemon.errors import AuditError

CREDENTIAL = "audit-key"


@dataclass(frozen=True, slots=True)
class Verifier:
    """`origin` holds a digest of the key: a log that another key signed has another name."""

    origin: str
    public: Ed25519PublicKey

    @classmethod
    def of(cls, public: Ed25519PublicKey) -> Verifier:
        return cls(f"container-kit-audit/{sha256(public.public_bytes_raw()).hexdigest()[:16]}", public)

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """From its text as `str` gives it. Raises AuditError."""
        try:
            origin, _, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            found = cls.of(Ed25519PublicKey.from_public_bytes(raw[1:]))
        except ValueError as error:
            raise AuditError("no key: give the line that `container-kit audit key` prints") from error
        if str(found) != text.strip():
            raise AuditError(f"the key does not fit its name {origin!r}: copy the whole line")
        return found

    def __str__(self) -> str:
        """As C2SP signed-note writes a verifier key."""
        encoded = base64.b64encode(ED25519 + self.public.public_bytes_raw()).decode()
        return f"{self.origin}+{key_id(self.origin, self.public).hex()}+{encoded}"

    def open(self, note: str) -> Checkpoint:
        """Raises AuditError unless this key signed it."""
        return opened(note, self.origin, self.public)

    def text(self, note: str, kind: str) -> str:
        """What follows the first line of a note of that kind. Raises AuditError unless this key signed it."""
        text = signed_text(note, self.origin, self.public)
        if text is None:
            raise AuditError(f"the {kind} is not signed by this log's key: compare it with `audit key`")
        heading, _, rest = text.partition("\n")
        if heading != f"{self.origin} {kind}":
            raise AuditError(f"what was signed is no {kind}: restore the one that this log wrote")
        return rest


class SigningKey:
    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = Verifier.of(private.public_key())

    def sign(self, size: int, root: bytes) -> str:
        return sign(Checkpoint(self.verifier.origin, size, root), self._private)

    def sign_text(self, text: str, kind: str) -> str:
        """A note that cannot be taken for a checkpoint: its first line names the kind as well."""
        return signed(f"{self.verifier.origin} {kind}\n{text}\n", self.verifier.origin, self._private)


def signing_key(folder: Path) -> SigningKey:
    """The credential `audit-key` (systemd.exec(5)) if there is one, else `key` in that folder.

    That is made at first; beside it is `key.pub`, for who verifies. Raises AuditError.
    """
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / CREDENTIAL
    path = credential if credential.exists() else folder / "key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = _load(path)
        (folder / "key.pub").write_text(f"{key.verifier}\n", encoding="ascii")
    except OSError as error:
        raise AuditError(f"{path}: the audit log's key cannot be used: {error.strerror}") from error
    return key


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(descriptor)


def _load(path: Path) -> SigningKey:
    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuditError(
            f"{path}: no private key in PEM: restore it, or remove it so that a new one is made"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise AuditError(f"{path}: not an Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return SigningKey(private)

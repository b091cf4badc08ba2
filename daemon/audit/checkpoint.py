"""Checkpoints: size and root of the tree as a signed note (C2SP tlog-checkpoint, signed-note, Ed25519)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from daemon.errors import AuditError

ED25519 = b"\x01"
NOTE_LIMIT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`origin` names the log and its key: no space, plus sign or newline."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The note: the text, an empty line and one signature line."""
    text = checkpoint.text()
    signature = key_id(checkpoint.origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def opened(note: str, origin: str, key: Ed25519PublicKey) -> Checkpoint:
    """Signatures of others (witnesses) are passed over. Raises AuditError unless this key signed it."""
    if len(note) > NOTE_LIMIT_BYTES:
        raise AuditError(f"a checkpoint of more than {NOTE_LIMIT_BYTES} bytes: use one that this log wrote")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    if not any(_signed(text, line, origin, key) for line in signatures.splitlines()):
        raise AuditError("the checkpoint is not signed by this log's key: compare it with `audit key`")
    return _parsed(text, origin)


def key_id(origin: str, key: Ed25519PublicKey) -> bytes:
    """Four bytes that say which key a signature is of."""
    return sha256(origin.encode() + b"\n" + ED25519 + key.public_bytes_raw()).digest()[:4]


def _signed(text: str, line: str, origin: str, key: Ed25519PublicKey) -> bool:
    try:
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if (dash, name, signature[:4]) != ("\u2014", origin, key_id(origin, key)):
            return False
        key.verify(signature[4:], text.encode())
    except (ValueError, InvalidSignature):
        return False
    return True


def _parsed(text: str, origin: str) -> Checkpoint:
    """Raises AuditError."""
    try:
        name, size, root = text.split("\n")[:3]
        found = Checkpoint(name, int(size), base64.b64decode(root, validate=True))
    except ValueError as error:
        raise AuditError(
            "the checkpoint has no origin, size and root: use one that this log wrote"
        ) from error
    if name != origin or not text.startswith(found.text()) or len(found.root) != 32:
        raise AuditError(f"the checkpoint is of {name!r}, or malformed: use one that {origin!r} wrote")
    return found

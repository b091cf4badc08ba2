"""Checkpoints: size and root of the tree as a signed note (C2SP tlog-checkpoint, signed-note, Ed25519)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from daemon.audit.note import signed, signed_text
from daemon.errors import AuditError

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
    """The note."""
    return signed(checkpoint.text(), checkpoint.origin, key)


def opened(note: str, origin: str, key: Ed25519PublicKey) -> Checkpoint:
    """Signatures of others (witnesses) are passed over. Raises AuditError unless this key signed it."""
    if len(note) > NOTE_LIMIT_BYTES:
        raise AuditError(f"a checkpoint of more than {NOTE_LIMIT_BYTES} bytes: use one that this log wrote")
    if (text := signed_text(note, origin, key)) is None:
        raise AuditError("the checkpoint is not signed by this log's key: compare it with `audit key`")
    return _parsed(text, origin)


def read_unverified(note: str) -> Checkpoint:
    """Whoever signed it. Raises AuditError."""
    return _parsed(note.partition("\n\n")[0] + "\n", note.partition("\n")[0])


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

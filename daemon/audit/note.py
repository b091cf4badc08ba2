"""Signed notes (C2SP signed-note, Ed25519): a text, an empty line, and lines that each hold a signature."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"


def signed(text: str, origin: str, key: Ed25519PrivateKey) -> str:
    """The note. `text` ends with a newline."""
    signature = key_id(origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n\u2014 {origin} {base64.b64encode(signature).decode()}\n"


def signed_text(note: str, origin: str, key: Ed25519PublicKey) -> str | None:
    """Its text if this key signed it. Signatures of others (witnesses) are passed over."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    return text if any(_signs(line, text, origin, key) for line in signatures.splitlines()) else None


def key_id(origin: str, key: Ed25519PublicKey) -> bytes:
    """Four bytes that say which key a signature is of."""
    return sha256(origin.encode() + b"\n" + ED25519 + key.public_bytes_raw()).digest()[:4]


def _signs(line: str, text: str, origin: str, key: Ed25519PublicKey) -> bool:
    try:
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if (dash, name, signature[:4]) != ("\u2014", origin, key_id(origin, key)):
            return False
        key.verify(signature[4:], text.encode())
    except (ValueError, InvalidSignature):
        return False
    return True

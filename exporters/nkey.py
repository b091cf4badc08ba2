"""A NATS user's credentials, as `nsc` writes them: a JWT, and the seed of the key that signs a nonce.

nats-py would need one more library for them, and reads on for ever where a file holds no JWT.
"""

from __future__ import annotations

import re
from base64 import b32decode, b64encode
from binascii import crc_hqx
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.errors import ExportError
from exporters import secret

JWT, SEED = "NATS USER JWT", "USER NKEY SEED"
SEED_BYTES, KEY = 36, slice(2, 34)
"""Two bytes say what it is; two at the end are a CRC-16 (github.com/nats-io/nkeys)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    jwt: str
    key: Ed25519PrivateKey

    def sign(self, nonce: str) -> bytes:
        return b64encode(self.key.sign(nonce.encode()))


def read(path: Path) -> Credentials:
    """Raises ExportError."""
    text = secret.text(path)
    try:
        return Credentials(_block(text, JWT), _key(_block(text, SEED)))
    except ValueError as error:
        raise ExportError(f"{path}: are no credentials of a user as nsc writes them: {error}") from error


def _block(text: str, title: str) -> str:
    """Raises ValueError."""
    found = re.search(rf"-BEGIN {title}-+\s+(\S+)\s+-+END {title}-", text)
    if not found:
        raise ValueError(f"no {title}")
    return found[1]


def _key(seed: str) -> Ed25519PrivateKey:
    """Raises ValueError, which says nothing of the seed."""
    data = b32decode(seed + "=" * (-len(seed) % 8))
    if len(data) != SEED_BYTES or crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "little"):
        raise ValueError(f"the {SEED} is damaged")
    return Ed25519PrivateKey.from_private_bytes(data[KEY])

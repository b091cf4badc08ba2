"""Operator, accounts and users of NATS, as `nsc` makes them: keys with prefixes, and JWTs that they sign."""

from __future__ import annotations

import json
import time
from base64 import b32encode, urlsafe_b64encode
from binascii import crc_hqx
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
UNLIMITED = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
STORES = ("mem_storage", "disk_storage", "streams", "consumer")


class Key:
    def __init__(self, prefix: int) -> None:
        self._key, self._prefix = Ed25519PrivateKey.generate(), prefix
        self.name = _text(bytes([prefix]) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        first = bytes([SEED | self._prefix >> 5, (self._prefix & 31) << 3])
        return _text(first + self._key.private_bytes_raw())

    def signed(self, kind: str, subject: Key, **claims: Any) -> str:
        """A JWT about the subject."""
        about = {"type": kind, "version": 2, **claims}
        body = {"jti": "x", "iat": int(time.time()), "iss": self.name, "sub": subject.name, "nats": about}
        text = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part({'name': kind, **body})}"
        return f"{text}.{_unpadded(urlsafe_b64encode(self._key.sign(text.encode())))}"


def _text(data: bytes) -> str:
    return _unpadded(b32encode(data + crc_hqx(data, 0).to_bytes(2, "little")))


def _part(claims: Any) -> str:
    return _unpadded(urlsafe_b64encode(json.dumps(claims).encode()))


def _unpadded(data: bytes) -> str:
    return data.decode().rstrip("=")


class Accounts:
    """An operator with one account; `settings` are those of its server."""

    def __init__(self) -> None:
        operator, system, self._account = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT)
        known = {
            account.name: operator.signed("account", account, limits=dict.fromkeys(limits, -1))
            for account, limits in ((system, UNLIMITED), (self._account, (*UNLIMITED, *STORES)))
        }
        self.settings = f"""
operator: {operator.signed("operator", operator, system_account=system.name)}
system_account: {system.name}
resolver: MEMORY
resolver_preload: {json.dumps(known)}
"""

    def credentials(self, file: Path) -> Path:
        """Of a new user of the account."""
        user = Key(USER)
        jwt = self._account.signed("user", user, pub={}, sub={}, subs=-1, data=-1, payload=-1)
        file.touch(0o600)
        file.write_text(f"""-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{user.seed}
------END USER NKEY SEED------

*************************************************************
""")
        return file

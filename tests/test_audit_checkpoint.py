"""Signed checkpoints, and what must not pass for one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.audit.checkpoint import NOTE_LIMIT_BYTES, Checkpoint, opened, sign
from daemon.errors import AuditError

ORIGIN = "host.example/audit"
KEY = Ed25519PrivateKey.generate()
CHECKPOINT = Checkpoint(ORIGIN, 12, b"\7" * 32)
NOTE = sign(CHECKPOINT, KEY)


def test_a_signed_checkpoint_opens_also_beside_the_signature_of_a_witness() -> None:
    assert opened(NOTE, ORIGIN, KEY.public_key()) == CHECKPOINT
    assert opened(NOTE + "\u2014 witness.example AAAAAAAA\n", ORIGIN, KEY.public_key()) == CHECKPOINT


@pytest.mark.parametrize(
    "forged",
    [
        NOTE.replace("\n12\n", "\n11\n"),
        NOTE.replace("host.example", "another.example"),
        NOTE.partition("\u2014")[0],
        sign(CHECKPOINT, Ed25519PrivateKey.generate()),
        NOTE + "x" * NOTE_LIMIT_BYTES,
        "",
    ],
    ids=["size", "origin", "unsigned", "swapped key", "too long", "empty"],
)
def test_a_forged_checkpoint_is_refused(forged: str) -> None:
    with pytest.raises(AuditError):
        opened(forged, ORIGIN, KEY.public_key())


@pytest.mark.parametrize("text", ["x\n", "host.example/audit\n-\nAA==\n", "host.example/audit\n012\nAA==\n"])
def test_what_the_key_signed_but_is_no_checkpoint_is_refused(text: str) -> None:
    class Other(Checkpoint):
        def text(self) -> str:
            return text

    with pytest.raises(AuditError):
        opened(sign(Other(ORIGIN, 12, b""), KEY), ORIGIN, KEY.public_key())

"""What proves to somebody without the log that an event is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.audit import tombstone
from daemon.audit.key import Verifier
from daemon.audit.proofs import Hashes, inclusion_proof
from daemon.audit.segments import history, lines, seq_of
from daemon.audit.verify import CHECKPOINT_MARK, note_of
from daemon.errors import AuditError


def prove(log: Path, verifier: Verifier, seq: int) -> dict[str, Any]:
    """What `root_from_proof` takes, and a signed root. Raises AuditError."""
    hashes, index = Hashes(), -1
    for line in hashed(log, verifier, hashes):
        note = note_of(line) if CHECKPOINT_MARK in line else None
        if index >= 0 and note is not None:
            size = verifier.open(note).size
            proof = [node.hex() for node in inclusion_proof(hashes, index, size)]
            return {"seq": seq, "index": index, "size": size, "proof": proof, "checkpoint": note}
        if seq_of(line) == seq:
            index = hashes.size
    if index < 0:
        raise AuditError(f"event {seq} is not in {log}")
    raise AuditError(f"no checkpoint stands for event {seq} yet: try again in a second")


def hashed(log: Path, verifier: Verifier, hashes: Hashes) -> Iterator[bytes]:
    """Each line that is there; `hashes` has what is before it, and itself once the next one is asked for."""
    for part in history(log):
        if part.retired:
            for level, root in tombstone.read(part.path, verifier).subtrees:
                hashes.graft(level, bytes.fromhex(root))
            continue
        for line in lines(part.path):
            yield line
            hashes.append(line)

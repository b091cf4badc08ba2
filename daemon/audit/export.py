"""A range of the log for somebody without it, who has the key and perhaps an older checkpoint.

The first line is a JSON object, EXPORT says of what; behind it are the lines of the log as they are. They are
proved by a signed checkpoint and the hashes beside the range; each older checkpoint by a proof of growth.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from daemon.audit.checkpoint import Checkpoint
from daemon.audit.evidence import hashed
from daemon.audit.key import Verifier
from daemon.audit.proofs import (
    Hashes,
    consistency_proof,
    range_proof,
    root_from_range,
    roots_from_consistency,
)
from daemon.audit.segments import seq_of
from daemon.audit.tree import leaf_hash
from daemon.audit.verify import CHECKPOINT_MARK, note_of
from daemon.errors import AuditError

FORMAT = "container-kit-audit-export/1"


@dataclass(frozen=True, slots=True)
class Header:
    """`lines` lines from number `index` on, counted from 0, of the tree that `checkpoint` signs."""

    first: int
    last: int
    index: int
    lines: int
    checkpoint: str
    proof: list[str]
    growth: list[dict[str, Any]] = field(default_factory=list)
    """{"checkpoint": an older one, "proof": that the tree went on from it}"""
    format: str = FORMAT


def export(
    log: Path, verifier: Verifier, first: int, last: int | None, against: Sequence[str] = ()
) -> Iterator[bytes]:
    """Events `first` to `last`, or to the newest that a checkpoint stands for. Raises AuditError."""
    _require(last is None or first <= last, "the last event is before the first: give them in their order")
    older = [(note, verifier.open(note)) for note in against]
    hashes, kept, index = Hashes(), list[bytes](), 0
    whole: tuple[str, int] | None = None
    for line in hashed(log, verifier, hashes):
        if kept and CHECKPOINT_MARK in line and (note := note_of(line)) is not None:
            whole = note, len(kept)
            if last is not None and _last_seq(kept) >= last:
                break
        seq = seq_of(line)
        if seq >= first and not kept:
            index = hashes.size
        if kept or seq >= first:
            kept.append(line)
    if whole is None:
        raise AuditError(f"no checkpoint stands for event {first} in {log}: try again in a second")
    note, count = whole
    wanted = _up_to(kept[:count], last)
    header = _header(verifier.open(note), note, hashes, index, wanted, older)
    _require(header.first == first, f"event {first} is not in {log}, {header.first} is the next one")
    _require(last in {None, header.last}, f"events up to {header.last} are under a checkpoint: take those")
    yield json.dumps(asdict(header)).encode()
    yield from wanted


def check(
    lines: Iterable[bytes], verifier: Verifier, against: Sequence[str] = ()
) -> tuple[Header, list[bytes]]:
    """What it is, and its lines of the log. Raises AuditError unless all of it is proved."""
    head, *kept = [*lines] or [b""]
    header = _parsed(head)
    signed = verifier.open(header.checkpoint)
    _require(len(kept) == header.lines, f"{len(kept)} lines, and {header.lines} should be there")
    numbers = seq_of(kept[0]), _last_seq(kept)
    _require(numbers == (header.first, header.last), f"events {numbers[0]} to {numbers[1]}, not what it says")
    try:
        leaves = [leaf_hash(line) for line in kept]
        root = root_from_range(leaves, header.index, signed.size, _nodes(header.proof))
        grown = dict(_growth(one, signed, verifier) for one in header.growth)
    except (ValueError, TypeError, KeyError) as error:
        raise AuditError(f"the export proves nothing: {error}") from error
    _require(root == signed.root, "the lines are not those that were signed")
    grown[signed.size] = signed.root
    for note in against:
        older = verifier.open(note)
        _require(
            older.size in grown, f"no proof for the checkpoint of {older.size} lines: export with --against"
        )
        _require(grown[older.size] == older.root, f"not the log of which {older.size} lines were signed")
    return header, kept


def _header(
    signed: Checkpoint,
    note: str,
    hashes: Hashes,
    index: int,
    wanted: list[bytes],
    older: list[tuple[str, Checkpoint]],
) -> Header:
    try:
        proof = range_proof(hashes, index, index + len(wanted), signed.size)
        growth = [
            {"checkpoint": text, "proof": _hex(consistency_proof(hashes, one.size, signed.size))}
            for text, one in older
        ]
    except IndexError as error:
        message = "a checkpoint of --against is newer than the export, or its segment was retired"
        raise AuditError(f"{message}: {error}") from error
    return Header(seq_of(wanted[0]), _last_seq(wanted), index, len(wanted), note, _hex(proof), growth)


def _growth(one: dict[str, Any], signed: Checkpoint, verifier: Verifier) -> tuple[int, bytes]:
    """Size and root of an older tree that the signed one goes on from. Raises AuditError or ValueError."""
    older = verifier.open(str(one["checkpoint"]))
    roots = roots_from_consistency(older.root, older.size, signed.size, _nodes(one["proof"]))
    _require(roots == (older.root, signed.root), f"the log does not go on from that of {older.size} lines")
    return older.size, older.root


def _parsed(head: bytes) -> Header:
    try:
        found = Header(**json.loads(head))
        if found.format != FORMAT or found.lines < 1:
            raise ValueError(found.format)
    except (ValueError, TypeError) as error:
        raise AuditError("no export: give a file that `container-kit audit export` wrote") from error
    return found


def _up_to(lines: list[bytes], last: int | None) -> list[bytes]:
    """Also what a crash tore, as long as it is not behind the last one."""
    if last is None:
        return lines
    ends = [number for number, line in enumerate(lines, 1) if 0 < seq_of(line) <= last]
    return lines[: ends[-1] if ends else 0]


def _last_seq(lines: list[bytes]) -> int:
    return next((seq for line in reversed(lines) if (seq := seq_of(line))), 0)


def _nodes(proof: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(node) for node in proof]


def _hex(nodes: Iterable[bytes]) -> list[str]:
    return [node.hex() for node in nodes]


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise AuditError(otherwise)

"""Whether an audit log is what its checkpoints say: every line, in its place, and none missing at the end.

What it cannot know without a copy from elsewhere: whether all of it, checkpoints and the key with them, was
replaced by an older state or a made-up one. `against` is that copy, and the key from another place is, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.audit.checkpoint import Checkpoint
from daemon.audit.key import Verifier
from daemon.audit.log import HEAD, LINE_LIMIT_BYTES
from daemon.audit.record import EventType
from daemon.audit.tree import Tree, inclusion_proof, leaf_hash
from daemon.errors import AuditError

_MARK = b'"event_type":"' + EventType.AUDIT_CHECKPOINT.encode() + b'"'
_PROBLEMS_LIMIT = 20


@dataclass(slots=True)
class Verification:
    """`sealed` lines stand under the last good checkpoint; the `lines` behind them are nobody's word yet."""

    lines: int = 0
    checkpoints: int = 0
    sealed: int = 0
    torn: int = 0
    """Lines that a crash left unfinished where the file could not be cut."""
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        if len(self.problems) < _PROBLEMS_LIMIT:
            self.problems.append(problem)


def verify(path: Path, verifier: Verifier, against: list[str] | None = None) -> Verification:
    """`against`: notes of this log that were kept elsewhere. Raises OSError; AuditError for no such note."""
    found, tree, expected = Verification(), Tree(), 1
    copies = [*_head(path, verifier, found), *(verifier.open(note) for note in against or ())]
    sizes = {copy.size for copy in copies}
    broken = False
    for line in _lines(path):
        if tree.size in sizes:
            _compare(copies, tree, found)
        if line.startswith(b'{"seq":%d,' % expected):
            expected += 1
            if _MARK in line and (note := _note(line)) is not None and not broken:
                broken = not _sealed(note, verifier, tree, found)
        else:
            expected = _unexpected(line, expected, tree.size, found)
        tree.append(line)
    if tree.size in sizes:
        _compare(copies, tree, found)
    for size in sorted(size for size in sizes if size > tree.size):
        found.say(f"cut off: the log has {tree.size} lines, and a checkpoint of {size} was signed")
    found.lines = tree.size
    return found


def prove(path: Path, verifier: Verifier, seq: int) -> dict[str, Any]:
    """That an event is in the log: what `root_from_proof` takes, and a signed root. Raises AuditError."""
    leaves: list[bytes] = []
    index, wanted = -1, b'{"seq":%d,' % seq
    for line in _lines(path):
        note = _note(line) if _MARK in line else None
        if index >= 0 and note is not None:
            size = verifier.open(note).size
            proof = [node.hex() for node in inclusion_proof(leaves[:size], index)]
            return {"seq": seq, "index": index, "size": size, "proof": proof, "checkpoint": note}
        if line.startswith(wanted):
            index = len(leaves)
        leaves.append(leaf_hash(line))
    if index < 0:
        raise AuditError(f"event {seq} is not in {path}")
    raise AuditError(f"no checkpoint stands for event {seq} yet: try again in a second")


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as log:
        while line := log.readline(4 * LINE_LIMIT_BYTES):
            yield line.removesuffix(b"\n")


def _note(line: bytes) -> str | None:
    """None where the words are those of somebody's details."""
    try:
        event = json.loads(line)
        if event["event_type"] == EventType.AUDIT_CHECKPOINT:
            return str(event["details"]["checkpoint"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _sealed(note: str, verifier: Verifier, tree: Tree, found: Verification) -> bool:
    try:
        checkpoint = verifier.open(note)
    except AuditError as error:
        found.say(f"line {tree.size + 1}: {error}")
        return False
    if (checkpoint.size, checkpoint.root) != (tree.size, tree.root()):
        found.say(f"lines {found.sealed + 1} to {tree.size} are not those that were signed")
        return False
    found.checkpoints += 1
    found.sealed = tree.size
    return True


def _unexpected(line: bytes, expected: int, index: int, found: Verification) -> int:
    """The number that the next line should have."""
    try:
        seq = int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError):
        found.torn += 1
        return expected
    found.say(f"line {index + 1} is event {seq}, and {expected} should be there")
    return seq + 1


def _head(path: Path, verifier: Verifier, found: Verification) -> list[Checkpoint]:
    try:
        return [verifier.open(path.with_name(HEAD).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        found.say(f"{path.with_name(HEAD)} is missing: lines may have been cut off")
    except (AuditError, UnicodeDecodeError) as error:
        found.say(f"{path.with_name(HEAD)}: {error}")
    return []


def _compare(copies: list[Checkpoint], tree: Tree, found: Verification) -> None:
    for copy in copies:
        if copy.size == tree.size and copy.root != tree.root():
            found.say(f"the first {copy.size} lines are not those of a checkpoint that was kept")

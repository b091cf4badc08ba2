"""What retention leaves of a segment: a signed note with its numbers, its reason and hashes of the tree.

The hashes are those of the fewest perfect subtrees that end where a checkpoint was signed. So the tree goes
on over the gap, and each older checkpoint can still be compared with what is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from daemon.audit.key import SigningKey, Verifier
from daemon.audit.tree import Tree, subtrees
from daemon.errors import AuditError

KIND = "tombstone"
LEVEL_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Events `first` to `last`, which were `lines` lines behind the `begin` first ones of the log."""

    first: int
    last: int
    begin: int
    lines: int
    time: str
    reason: str
    root: str
    """Of the tree behind it, in hex."""
    subtrees: list[tuple[int, str]]
    """(level, root in hex): 2**level lines each."""
    peaks: list[str]
    """Of the tree behind it, in hex, so that who goes on from it reads no earlier one; empty in old ones."""

    def note(self, key: SigningKey) -> str:
        return key.sign_text(json.dumps(asdict(self), separators=(",", ":")), KIND)

    def grow(self, tree: Tree) -> Iterator[None]:
        """Subtree by subtree. Raises AuditError where they do not go on from it or do not end in `root`."""
        _require(
            tree.size == self.begin, f"it is of line {self.begin + 1}, and {tree.size + 1} is the next one"
        )
        try:
            for level, peak in self.subtrees:
                yield
                tree.graft(level, bytes.fromhex(peak))
        except ValueError as error:
            raise AuditError(f"its hashes make no tree: {error}") from error
        _require(tree.size == self.begin + self.lines, "its hashes are of another number of lines")
        _require(tree.root().hex() == self.root, "its hashes do not make its root")
        _require(not self.peaks or self.tree_behind() is not None, "its peaks do not make its root")

    def tree_behind(self) -> Tree | None:
        """None where it does not tell it, or not truly."""
        with suppress(ValueError):
            tree = Tree(self.begin + self.lines, [bytes.fromhex(peak) for peak in self.peaks])
            if tree.root().hex() == self.root:
                return tree
        return None


def made(
    segment: tuple[int, int], leaves: Iterable[list[bytes]], before: Tree, when: datetime, reason: str
) -> Tombstone:
    """Of events `segment`, first and last; a list of leaf hashes up to each checkpoint."""
    tree, found = before.copy(), list[tuple[int, bytes]]()
    for some in leaves:
        for level, peak in subtrees(some, tree.size):
            tree.graft(level, peak)
            found.append((level, peak))
    return Tombstone(
        *segment,
        begin=before.size,
        lines=tree.size - before.size,
        time=when.isoformat(),
        reason=reason,
        root=tree.root().hex(),
        subtrees=[(level, peak.hex()) for level, peak in found],
        peaks=[peak.hex() for peak in tree.peaks],
    )


def read(path: Path, verifier: Verifier | None = None) -> Tombstone:
    """Without a verifier whoever signed it. Raises AuditError, which names the file."""
    try:
        note = path.read_text(encoding="utf-8")
        text = verifier.text(note, KIND) if verifier else note.partition("\n")[2].partition("\n")[0]
        return _parsed(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise AuditError(f"{path}: no tombstone: restore the one that this log wrote") from error
    except AuditError as error:
        raise AuditError(f"{path}: {error}") from error


def graft(tree: Tree, path: Path) -> None:
    """Raises AuditError where it does not fit."""
    try:
        for _ in read(path).grow(tree):
            pass
    except AuditError as error:
        raise AuditError(f"{path}: {error}; restore it, or move the whole log away") from error


def tree_behind(path: Path, verifier: Verifier | None = None) -> Tree | None:
    """None where it does not tell it. Raises AuditError, which names the file."""
    return read(path, verifier).tree_behind()


def digest(path: Path) -> str:
    """SHA-256 of the file in hex, as AUDIT_RETIRED tells it."""
    return sha256(path.read_bytes()).hexdigest()


def _parsed(found: dict[str, Any]) -> Tombstone:
    first, last, begin, lines = (int(found[name]) for name in ("first", "last", "begin", "lines"))
    time, reason, root = (str(found[name]) for name in ("time", "reason", "root"))
    hashes = [(int(level), str(peak)) for level, peak in found["subtrees"]]
    if max((level for level, _ in hashes), default=0) > LEVEL_LIMIT:
        raise ValueError("a tree of more lines than there can be")
    peaks = [str(peak) for peak in found.get("peaks", ())]
    return Tombstone(first, last, begin, lines, time, reason, root, hashes, peaks)


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise AuditError(otherwise)

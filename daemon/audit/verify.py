"""Whether an audit log is what its checkpoints say: every line, in its place, and none missing at the end.

What it cannot know without a copy from elsewhere: whether all of it, checkpoints and the key with them, was
replaced by an older state or a made-up one. `against` is that copy, and the key from another place is, too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.audit import tombstone
from daemon.audit.checkpoint import Checkpoint
from daemon.audit.key import Verifier
from daemon.audit.log import HEAD
from daemon.audit.record import EventType
from daemon.audit.segments import Segment, history, lines, tombstone_path
from daemon.audit.tree import Tree
from daemon.errors import AuditError

CHECKPOINT_MARK = b'"event_type":"' + EventType.AUDIT_CHECKPOINT.encode() + b'"'
_OF_THE_LOG = b'"event_type":"AUDIT_'
_PROBLEMS_LIMIT = 20


@dataclass(slots=True)
class Verification:
    """`sealed` lines stand under the last good checkpoint; the `lines` behind them are nobody's word yet."""

    lines: int = 0
    checkpoints: int = 0
    sealed: int = 0
    torn: int = 0
    """Lines that a crash left unfinished where the file could not be cut."""
    retired: int = 0
    """Lines that retention deleted, and of which a tombstone is left."""
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        if len(self.problems) < _PROBLEMS_LIMIT:
            self.problems.append(problem)


def verify(log: Path, verifier: Verifier, against: list[str] | None = None) -> Verification:
    """`against`: notes of this log that were kept elsewhere. Raises OSError; AuditError for no such note."""
    found = Verification()
    copies = [*_head(log, verifier, found), *(verifier.open(note) for note in against or ())]
    passage = _Passage(log, verifier, copies, found)
    parts = history(log)  # after the newest checkpoint was read: it stands for no line that is not in them
    if not parts:
        raise FileNotFoundError(f"{log}: no audit log")
    for part in parts:
        passage.enter(part)
    passage.end()
    return found


class _Passage:
    """Through all parts of the log, in their order."""

    def __init__(self, log: Path, verifier: Verifier, copies: list[Checkpoint], found: Verification) -> None:
        self._log, self._verifier, self._found = log, verifier, found
        self._tree = Tree()
        self._copies: defaultdict[int, list[Checkpoint]] = defaultdict(list)
        for copy in copies:
            self._copies[copy.size].append(copy)
        self._expected = 1
        self._broken = False
        """What does not fit is told once, not again by every checkpoint behind it."""
        self._tombstones: dict[int, str] = {}
        self._told: defaultdict[int, set[str]] = defaultdict(set)
        """By the first event of a retired segment: digests of its tombstone, as events tell them."""

    def enter(self, part: Segment) -> None:
        if part.first > self._expected:
            missing = f"events {self._expected} to {part.first - 1} are missing"
            self._found.say(f"{missing}: there is neither their segment nor its tombstone")
            self._expected = part.first
        elif part.first < self._expected:
            self._found.say(f"{part.path}: begins with event {self._expected}, which its name does not say")
        if part.retired:
            return self._pass_tombstone(part)
        try:
            self._pass_lines(lines(part.path))
        except FileNotFoundError:  # retired this moment
            self._pass_tombstone(Segment(part.first, tombstone_path(self._log, part.first), retired=True))

    def end(self) -> None:
        tree, found = self._tree, self._found
        self._compare()
        for size in sorted(size for size in self._copies if size > tree.size):
            found.say(f"cut off: the log has {tree.size} lines, and a checkpoint of {size} was signed")
        for size in sorted(size for size in self._copies if size < tree.size):
            found.say(f"a checkpoint of {size} lines is none of those that the tombstones tell of")
        for first, digest in self._tombstones.items():
            if self._told[first] and digest not in self._told[first]:
                found.say(
                    f"{tombstone_path(self._log, first)}: not the one that an event of the log tells of"
                )
        found.lines = tree.size

    def _pass_lines(self, some: Iterable[bytes]) -> None:
        tree, copies = self._tree, self._copies
        for line in some:
            if tree.size in copies:
                self._compare()
            if line.startswith(b'{"seq":%d,' % self._expected):
                self._expected += 1
                if _OF_THE_LOG in line:
                    self._pass_own(line)
            else:
                self._unexpected(line)
            tree.append(line)

    def _pass_own(self, line: bytes) -> None:
        if not self._broken and (note := note_of(line)) is not None:
            self._pass_checkpoint(note)
        event = _event(line)
        if event.get("event_type") == EventType.AUDIT_RETIRED:
            with suppress(KeyError, TypeError, ValueError):
                self._told[int(event["details"]["first"])].add(event["details"]["tombstone_sha256"])

    def _pass_checkpoint(self, note: str) -> None:
        tree, found = self._tree, self._found
        try:
            checkpoint = self._verifier.open(note)
        except AuditError as error:
            found.say(f"line {tree.size + 1}: {error}")
            self._broken = True
            return
        if (checkpoint.size, checkpoint.root) != (tree.size, tree.root()):
            found.say(f"lines {found.sealed + 1} to {tree.size} are not those that were signed")
            self._broken = True
            return
        found.checkpoints += 1
        found.sealed = tree.size

    def _pass_tombstone(self, part: Segment) -> None:
        try:
            stone = tombstone.read(part.path, self._verifier)
            self._tombstones[part.first] = tombstone.digest(part.path)
            if (stone.first, stone.begin) != (self._expected, self._tree.size):
                raise AuditError(f"{part.path}: its place is before event {stone.first}")
            for _ in stone.grow(self._tree):
                self._compare()
        except AuditError as error:
            self._found.say(str(error))
            self._broken = True
            return
        self._expected = stone.last + 1
        self._found.retired += stone.lines

    def _compare(self) -> None:
        """Those that are left over were never passed."""
        for copy in self._copies.pop(self._tree.size, ()):
            if copy.root != self._tree.root():
                self._found.say(f"the first {copy.size} lines are not those of a checkpoint that was kept")

    def _unexpected(self, line: bytes) -> None:
        try:
            seq = int(_event(line)["seq"])
        except (KeyError, TypeError):
            self._found.torn += 1
            return
        place = f"line {self._tree.size + 1}"
        self._found.say(f"{place} is event {seq}, and {self._expected} should be there")
        self._expected = seq + 1


def note_of(line: bytes) -> str | None:
    """The note of a line with CHECKPOINT_MARK; None where the words are those of somebody's details."""
    event = _event(line)
    try:
        if event["event_type"] == EventType.AUDIT_CHECKPOINT:
            return str(event["details"]["checkpoint"])
    except (KeyError, TypeError):
        pass
    return None


def _event(line: bytes) -> dict[str, Any]:
    """Empty where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _head(log: Path, verifier: Verifier, found: Verification) -> list[Checkpoint]:
    try:
        return [verifier.open(log.with_name(HEAD).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        found.say(f"{log.with_name(HEAD)} is missing: lines may have been cut off")
    except (AuditError, UnicodeDecodeError) as error:
        found.say(f"{log.with_name(HEAD)}: {error}")
    return []

"""What a log is when a daemon takes it up: where its numbers and its tree go on, and what a crash left."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from daemon.audit import tombstone
from daemon.audit.checkpoint import read_unverified
from daemon.audit.record import SecurityAuditEvent
from daemon.audit.segments import LINE_LIMIT_BYTES, Segment, history, last_line, lines, sync_folder
from daemon.audit.tree import Tree
from daemon.audit.writer import OPEN_FLAGS
from daemon.errors import AuditError

LOCK_DEADLINE_S = 2.0
"""The writing process of a daemon that was killed holds the lock until its last batch is on the disk."""
_BEGINNING = b'{"seq":'


@dataclass(frozen=True, slots=True)
class Opened:
    lock: int
    segment: int
    """The last one, open for appending."""
    seq: int
    """Of the last event."""
    tree: Tree
    torn_bytes: int
    last_written: datetime


def opened(log: Path) -> Opened:
    """Takes the lock, and cuts off what a crash left of a line. Raises AuditError."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(log.with_name(f"{log.name}.lock"), OPEN_FLAGS, 0o600)
        try:
            return _taken_up(log, lock)
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise AuditError(
            f"{log}: the audit log cannot be opened: {error.strerror}; check the state_dir"
        ) from error


def _taken_up(log: Path, lock: int) -> Opened:
    _lock(log, lock)
    last = _last_segment(log)
    segment = os.open(last.path, OPEN_FLAGS, 0o600)
    sync_folder(log.parent)  # it may be new
    written = datetime.fromtimestamp(last.path.stat().st_mtime, UTC)
    seq = _last_seq(last)
    torn_bytes = _end_torn_line(last.path, segment)
    return Opened(lock, segment, seq, tree_of(log), torn_bytes, written)


def _last_segment(log: Path) -> Segment:
    found = history(log)
    if not found:
        return Segment(1, log)
    if found[-1].retired:
        raise AuditError(f"{found[-1].path}: its segment was the last one, and is missing: restore it")
    return found[-1]


def _lock(log: Path, file: int) -> None:
    """Two writers would give one number to two events, and end each other's sandboxes."""
    deadline_s = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline_s:
                message = f"{log}: another daemon writes it: stop it, or set another state_dir"
                raise AuditError(message) from error
            time.sleep(0.05)


def _last_seq(segment: Segment) -> int:
    """From the last whole line, or from its name. Raises AuditError where there is none at the end of it."""
    with segment.path.open("rb") as log:
        log.seek(max(0, segment.path.stat().st_size - 2 * LINE_LIMIT_BYTES))
        tail = log.read()
    for line in reversed(tail.splitlines()):
        with suppress(ValidationError):
            return SecurityAuditEvent.model_validate_json(line).seq
    if tail.strip(b"\n") and (b"\n" in tail or not tail.startswith(_BEGINNING[: len(tail)])):
        raise AuditError(
            f"{segment.path}: ends with no audit event: move it away, and find out who wrote to it"
        )
    return segment.first - 1


def _end_torn_line(segment: Path, file: int) -> int:
    """What a crash left of a line, which nobody was told of, is cut off. Returns its size in bytes.

    An append-only file (chattr +a) keeps it, and the next line begins anew.
    """
    size = segment.stat().st_size
    with segment.open("rb") as log:
        log.seek(max(0, size - 4 * LINE_LIMIT_BYTES))
        torn = len(log.read().rpartition(b"\n")[2])
    if torn:
        try:
            os.ftruncate(file, size - torn)
        except PermissionError:
            os.write(file, b"\n")
    return torn


def tree_of(log: Path) -> Tree:
    """From the end of the last sealed or retired segment on that tells it, else over all there is."""
    found = history(log)
    for index in range(len(found) - 1, 0, -1):
        if (tree := _tree_behind(found[index - 1])) is not None:
            return _grown(tree, found[index:])
    return _grown(Tree(), found)


def _tree_behind(part: Segment) -> Tree | None:
    return tombstone.tree_behind(part.path) if part.retired else sealed_tree(part.path)


def _grown(tree: Tree, parts: list[Segment]) -> Tree:
    for part in parts:
        if part.retired:
            tombstone.graft(tree, part.path)
            continue
        for line in lines(part.path):
            tree.append(line)
    return tree


def sealed_tree(segment: Path) -> Tree | None:
    """The tree behind it from its last line, a checkpoint with the peaks of the tree that it stands for."""
    line = last_line(segment)
    with suppress(ValueError, KeyError, TypeError, RecursionError, AuditError):
        details = json.loads(line)["details"]
        checkpoint = read_unverified(details["checkpoint"])
        tree = Tree(checkpoint.size, [bytes.fromhex(peak) for peak in details["peaks"]])
        if tree.root() == checkpoint.root:
            tree.append(line)
            return tree
    return None

"""Files that a sandbox made or changed: names alone, as the engine and the workspace list them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from daemon.forensics.evidence import FileChange, within
from daemon.ledger import plain
from daemon.sandbox.beneath import WorkspaceError
from daemon.sandbox.engine import Engine
from daemon.sandbox.workspace import Entry, Workspace

ANSWER_BYTES = 1 << 20
CHANGES = 1000
FOLDERS = 256
# The Engine API's "Kind", of "Get changes on a container's filesystem".
_KINDS: dict[Any, Literal["modified", "added", "deleted"]] = {0: "modified", 1: "added", 2: "deleted"}


async def of_root(engine: Engine, container_id: str) -> list[FileChange]:
    """Of the container's writable layer. Raises EngineError."""
    content = await engine.changes(container_id, ANSWER_BYTES)
    return bounded(parsed(content.decode(errors="replace")))


def parsed(answer: str) -> Iterator[FileChange]:
    """Every whole entry of the engine's list, which may be cut anywhere."""
    decoder, at = json.JSONDecoder(), answer.find("{")
    while at >= 0:
        try:
            entry, end = decoder.raw_decode(answer, at)
        except ValueError:
            return
        yield FileChange(
            path=plain(entry.get("Path")), change=_KINDS.get(entry.get("Kind"), "modified"), place="root"
        )
        at = answer.find("{", end)


def of_workspace(workspace: Workspace) -> list[FileChange]:
    """Blocking. Raises WorkspaceError; ValueError for one that is closed."""
    return bounded(_listed(workspace))


def bounded(changes: Iterator[FileChange]) -> list[FileChange]:
    return within(islice(changes, CHANGES), lambda one: len(one.path) + 64)


def _listed(workspace: Workspace) -> Iterator[FileChange]:
    """Breadth first, so that one deep folder hides nothing that lies beside it."""
    folders = ["."]
    for _ in range(FOLDERS):
        if not folders:
            return
        folder = folders.pop(0)
        for entry in _entries(workspace, folder):
            path = entry.name if folder == "." else f"{folder}/{entry.name}"
            yield FileChange(path=plain(f"/workspace/{path}"), change="present", place="workspace")
            if entry.kind == "directory":
                folders.append(path)


def _entries(workspace: Workspace, folder: str) -> tuple[Entry, ...]:
    """None of a folder that is removed, or filled, while it is looked at."""
    try:
        return workspace.list(folder)
    except (WorkspaceError, FileNotFoundError):
        return ()

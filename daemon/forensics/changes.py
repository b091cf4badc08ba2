"""Files that a sandbox made or changed: names alone, as the engine and the workspace list them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from daemon.plain import plain, within
from daemon.sandbox.beneath import WorkspaceError
from daemon.sandbox.workspace import Entry, Workspace

CHANGES = 1000
CHANGES_BYTES = 256 << 10
FOLDERS = 256
# The Engine API's "Kind", of "Get changes on a container's filesystem".
_KINDS = {0: "modified", 1: "added", 2: "deleted"}

Change = dict[str, Any]


def of_root(answer: bytes) -> list[Change]:
    """Of the writable layer: every whole entry of the engine's list, which may be cut anywhere."""
    return _bounded(_parsed(answer.decode(errors="replace")))


def of_workspace(descriptor: int) -> list[Change]:
    """All that is there now; `descriptor` is of its folder."""
    return _bounded(_listed(Workspace(descriptor, 0, 0)))


def _bounded(changes: Iterator[Change]) -> list[Change]:
    return within(islice(changes, CHANGES), lambda one: len(json.dumps(one)), CHANGES_BYTES)


def _parsed(answer: str) -> Iterator[Change]:
    decoder, at = json.JSONDecoder(), answer.find("{")
    while at >= 0:
        try:
            entry, end = decoder.raw_decode(answer, at)
        except ValueError:
            return
        change = _KINDS.get(entry.get("Kind"), "modified")
        yield {"path": plain(str(entry.get("Path"))), "change": change, "place": "root"}
        at = answer.find("{", end)


def _listed(workspace: Workspace) -> Iterator[Change]:
    """Breadth first, so that one deep folder hides nothing that lies beside it."""
    folders = ["."]
    for _ in range(FOLDERS):
        if not folders:
            return
        folder = folders.pop(0)
        for entry in _entries(workspace, folder):
            path = entry.name if folder == "." else f"{folder}/{entry.name}"
            yield {"path": plain(f"/workspace/{path}"), "change": "present", "place": "workspace"}
            if entry.kind == "directory":
                folders.append(path)


def _entries(workspace: Workspace, folder: str) -> tuple[Entry, ...]:
    """None of a folder that is removed, or filled, while it is looked at."""
    try:
        return workspace.list(folder)
    except (WorkspaceError, FileNotFoundError):
        return ()

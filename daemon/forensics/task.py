"""What the daemon gives to the process that collects, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.events import Event, Process
from daemon.forensics.store import EvidenceStore


@dataclass(frozen=True, slots=True)
class Task:
    """`summary` and `findings` as on the wire; `changes` is the engine's answer."""

    store: EvidenceStore
    summary: dict[str, Any]
    findings: list[dict[str, Any]]
    alive: bool
    """Whether anything may still run in it."""
    known: list[Process]
    """As events told of them, running or not."""
    events: tuple[Event, ...]
    changes: bytes
    workspace: int | None
    """A descriptor of it, in the process that collects."""
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Told:
    """How much of each there is; `sha256` of the file."""

    sha256: str
    processes: int
    events: int
    changes: int
    problems: list[str]

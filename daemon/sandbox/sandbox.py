"""One sandbox from launch to result, and the registry of all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from daemon.audit.record import Actor
from daemon.sandbox.cgroup import Cgroup, Limits
from daemon.sandbox.oom import OomWatch
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.output import OutputLog
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.stream import Stream
from daemon.sandbox.workspace import Workspace


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Sandbox:
    id: str
    session_id: str
    options: SandboxOptions
    owner: Actor
    report: SecurityReport
    container_id: str
    pid: int
    stream: Stream
    workspace: Workspace
    cgroup: Cgroup
    limits: Limits
    pidfd: int
    output: OutputLog
    durations_ms: dict[str, float]
    trace_id: str | None = None
    oom: OomWatch | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    state: State = State.RUNNING
    timed_out: bool = False
    killed: bool = False
    oom_killed: bool = False
    message: str = ""
    result: asyncio.Future[ExecutionResult] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Registry:
    """Sandboxes by id. Ended ones stay, so that results can be fetched, until `retained` newer ones ended."""

    def __init__(self, retained: int) -> None:
        self._retained = retained
        self._sandboxes: dict[str, Sandbox] = {}

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(self._sandboxes.values())

    def add(self, sandbox: Sandbox) -> None:
        self._sandboxes[sandbox.id] = sandbox

    def get(self, sandbox_id: str) -> Sandbox | None:
        return self._sandboxes.get(sandbox_id)

    def forget(self, sandbox: Sandbox) -> None:
        """Its workspace's memory is freed here."""
        self._sandboxes.pop(sandbox.id, None)
        sandbox.workspace.close()

    def running(self, uid: int | None = None) -> list[Sandbox]:
        return [s for s in self if s.state is not State.ENDED and (uid is None or s.owner.uid == uid)]

    def trim(self) -> None:
        ended = sorted((s for s in self if s.state is State.ENDED), key=lambda s: s.ended_s)
        for sandbox in ended[: max(0, len(ended) - self._retained)]:
            self.forget(sandbox)

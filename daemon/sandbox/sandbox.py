"""One sandbox from launch to result, and the registry of all of them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from opentelemetry.trace import SpanContext

from daemon import tracing
from daemon.audit.record import Actor
from daemon.audit.trail import Trail
from daemon.sandbox.cgroup import Cgroup, Limits, Usage
from daemon.sandbox.farewell import Farewell
from daemon.sandbox.oom import OomWatch
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.output import OutputLog
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.stream import Channel, Stream
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
    trail: Trail
    report: SecurityReport
    container_id: str
    pid: int
    stream: Stream
    workspace: Workspace
    cgroup: Cgroup
    limits: Limits
    pidfd: int
    farewell: Farewell
    output: OutputLog
    durations_ms: dict[str, float]
    ended_by_throttling: bool = False
    """Its profile wants it dead once it has been at its CPU limit for long."""
    oom: OomWatch | None = None
    usage: Usage | None = None
    """The last sample."""
    span: SpanContext = field(default_factory=tracing.current)
    """Of the run, once there is one: what a violation is a child of."""
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

    @property
    def trace_id(self) -> str | None:
        return self.trail.trace_id

    def becomes(self, state: State) -> None:
        """Unless it has ended while the engine was asked."""
        if self.state is not State.ENDED:
            self.state = state

    def kill_first_process(self) -> bool:
        """By the kernel and without the engine, which would take 10 ms: its init dies, and all with it.

        A frozen one dies as it is thawed. False without CAP_KILL.
        """
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def outcome(self, status: int | None, message: str, usage: Usage | None) -> ExecutionResult:
        """`status` as a shell has it, 128 and the signal's number; None where it was lost."""
        return ExecutionResult(
            sandbox_id=self.id,
            session_id=self.session_id,
            exit_code=status,
            signal=status - 128 if status is not None and 128 < status <= 192 else None,
            oom_killed=self.oom_killed,
            timed_out=self.timed_out,
            killed=self.killed,
            message=message,
            stdout=self.output.of(Channel.STDOUT).decode(errors="replace"),
            stderr=self.output.of(Channel.STDERR).decode(errors="replace"),
            stdout_truncated=self.output.truncated(Channel.STDOUT),
            stderr_truncated=self.output.truncated(Channel.STDERR),
            durations_ms={phase: round(value, 3) for phase, value in self.durations_ms.items()},
            cpu_ns=usage.cpu_ns if usage else 0,
            memory_peak_bytes=usage.memory_peak_bytes if usage else 0,
            # The kernel counts a fork that it refuses, for a moment: kernel/cgroup/pids.c, pids_try_charge.
            pids_peak=min(usage.pids_peak, self.limits.pids) if usage else 0,
            report_id=self.report.id,
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

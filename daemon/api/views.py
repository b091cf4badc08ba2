"""What the API shows of a sandbox."""

from __future__ import annotations

import asyncio
from datetime import datetime

from pydantic import BaseModel

from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox, State


class SandboxView(BaseModel):
    id: str
    session_id: str
    state: State
    profile: str
    image: str
    container_id: str
    owner_uid: int
    created: datetime
    labels: dict[str, str]
    interactive: bool
    tty: bool
    risk_level: str
    report_id: str
    trace_id: str | None
    exit_code: int | None

    @classmethod
    def of(cls, sandbox: Sandbox) -> SandboxView:
        return cls(
            id=sandbox.id,
            session_id=sandbox.session_id,
            state=sandbox.state,
            profile=sandbox.options.profile,
            image=sandbox.options.image,
            container_id=sandbox.container_id,
            owner_uid=sandbox.owner.uid,
            created=sandbox.created,
            labels=sandbox.options.labels,
            interactive=sandbox.options.interactive,
            tty=sandbox.options.tty,
            risk_level=sandbox.report.risk_level,
            report_id=sandbox.report.id,
            trace_id=sandbox.trace_id,
            exit_code=sandbox.result.result().exit_code if sandbox.result.done() else None,
        )


class SandboxList(BaseModel):
    items: list[SandboxView]
    next: str | None = None


class UsageView(BaseModel):
    """At this moment."""

    cpu_ns: int
    throttled_ns: int
    memory_bytes: int
    memory_peak_bytes: int
    pids: int
    pids_peak: int
    pids_refused: int
    oom_kills: int
    io_read_bytes: int
    io_write_bytes: int
    network_received_bytes: int
    network_sent_bytes: int
    workspace_used_bytes: int
    workspace_size_bytes: int


async def result_of(sandbox: Sandbox) -> ExecutionResult:
    """However many wait, and whoever of them leaves."""
    return await asyncio.shield(sandbox.result)

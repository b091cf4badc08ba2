"""ExecutionResult: how it ended, what it wrote, what it took."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ExecutionResult(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sandbox_id: str
    session_id: str
    exit_code: int | None
    signal: int | None = Field(
        default=None, description="of a program ended by a signal; its exit code is then 128 more"
    )
    oom_killed: bool = False
    timed_out: bool = False
    killed: bool = Field(default=False, description="by request or by the daemon")
    message: str = ""
    stdout: str = Field(description="UTF-8, other bytes replaced; `logs` has them exactly")
    stderr: str
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    durations_ms: dict[str, float] = Field(description="of each phase: validate, create, start, attest, run")
    cpu_ns: int = 0
    memory_peak_bytes: int = 0
    pids_peak: int = 0
    findings: list[dict[str, Any]] = []
    report_id: str

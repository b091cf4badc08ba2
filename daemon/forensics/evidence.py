"""The content of one file of evidence, for the API's document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from daemon.findings import Severity
from daemon.ledger import FindingRecord


class EvidenceSummary(BaseModel):
    """`rule_id` and `severity` are of the finding that it was collected for."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$", description="rises with the time")
    time: datetime
    container_id: str
    sandbox_id: str | None
    session_id: str | None
    owner_uid: int | None = Field(description="null where the daemon did not launch the container")
    finding_id: str
    rule_id: str
    title: str
    severity: Severity
    response: str = Field(description="as `action` of the finding, when this was collected")


class OpenFile(BaseModel):
    descriptor: int
    target: str = Field(
        description="as the kernel names it: a path in the sandbox, socket:[inode], pipe:[inode]"
    )


class ProcessEvidence(BaseModel):
    """Pids are the host's. One that does not run any more is known by its events alone."""

    pid: int
    ppid: int
    pid_inside: int
    uid: int | None
    state: str = Field(description="a letter of proc_pid_stat(5); empty where it has ended")
    threads: int
    exe: str
    argv: list[str]
    cwd: str
    root: str
    open_files: list[OpenFile]
    maps: list[str] = Field(description="lines of proc_pid_maps(5)")
    cut: bool = Field(description="there were more open files or maps than are kept")


class FileChange(BaseModel):
    path: str
    change: Literal["added", "modified", "deleted", "present"]
    place: Literal["root", "workspace"] = Field(
        description="the writable layer; or /workspace, listed as it is"
    )


class Evidence(BaseModel):
    summary: EvidenceSummary
    findings: list[FindingRecord] = Field(description="of the container, HIGH and above, the newest")
    processes: list[ProcessEvidence]
    events: list[dict[str, Any]] = Field(
        description="its last ones before the finding, as recordings have them"
    )
    changes: list[FileChange]
    problems: list[str] = Field(description="what could not be collected, or not in full, and why")

"""Running sandboxes outlive a daemon that was killed: what the next one needs to take them over."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.audit.record import Actor
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.report import SecurityReport

log = structlog.get_logger()

ONCE = {"files", "stdin"}
"""Options that were carried out at the launch and would be a second time."""


class AdoptionRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sandbox_id: str
    session_id: str
    trace_id: str | None
    span_id: str | None = None
    """With the trace: what the spans of an adopted one go on from."""
    owner: Actor
    options: SandboxOptions
    report: SecurityReport
    launched: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def age_s(self) -> float:
        return (datetime.now(UTC) - self.launched).total_seconds()


class AdoptionRecords:
    """One file a running sandbox, readable by root alone: its environment may hold secrets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, record: AdoptionRecord) -> None:
        """Whole or not at all. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(record.sandbox_id)
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(record.model_dump_json(exclude={"options": ONCE}))
        new.rename(path)

    def load(self, sandbox_id: str) -> AdoptionRecord | None:
        """None where there is none, or where it cannot be read: the sandbox then cannot be adopted."""
        try:
            return AdoptionRecord.model_validate_json(self._path(sandbox_id).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("adoption record not usable", sandbox_id=sandbox_id, reason=str(error)[:500])
            return None

    def remove(self, sandbox_id: str) -> None:
        with suppress(OSError):
            self._path(sandbox_id).unlink(missing_ok=True)

    def keep_only(self, sandbox_ids: set[str]) -> None:
        """Those of launches that came to nothing as their daemon was killed go."""
        for path in self._folder.glob("*"):
            if path.stem not in sandbox_ids:
                path.unlink(missing_ok=True)

    def _path(self, sandbox_id: str) -> Path:
        if not sandbox_id.isalnum():
            raise ValueError(f"{sandbox_id!r} is no id of a sandbox")
        return self._folder / f"{sandbox_id}.json"

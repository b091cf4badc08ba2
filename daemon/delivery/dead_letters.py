"""What a receiver refuses for good, noted so that a person can look into it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from daemon.audit.record import SecurityAuditEvent

SIZE_LIMIT_BYTES = 4 << 20
REASON_LIMIT = 500


class DeadLetters:
    """JSON lines: when, why, and the event. Two files of `limit_bytes` at most: older notes go first.

    The events themselves stay in the audit log, whatever happens to the notes.
    """

    def __init__(self, path: Path, limit_bytes: int = SIZE_LIMIT_BYTES) -> None:
        self.path = path
        self._limit_bytes = limit_bytes

    def add(self, event: SecurityAuditEvent, reason: str) -> None:
        """Durable when it returns. Raises OSError."""
        note = {
            "refused": datetime.now(UTC).isoformat(),
            "reason": reason[:REASON_LIMIT],
            "event": event.model_dump(mode="json", exclude_none=True),
        }
        line = json.dumps(note).encode() + b"\n"
        if self.path.exists() and self.path.stat().st_size + len(line) > self._limit_bytes:
            self.path.replace(self.path.with_suffix(".1"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

"""Records for receivers that cut what is too long and so break it: ours says less instead."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError


def fitting(
    event: SecurityAuditEvent, encode: Callable[[SecurityAuditEvent], bytes], limit_bytes: int
) -> bytes:
    """Without its details where they do not fit, with their SHA-256: they are whole in the audit log.

    Raises ExportError, not retryable, where even that is too long.
    """
    record = encode(event)
    if len(record) <= limit_bytes:
        return record
    details = event.model_dump_json(include={"details"}).encode()
    cut = {"cut_bytes": len(details), "sha256": hashlib.sha256(details).hexdigest()}
    record = encode(event.model_copy(update={"details": cut}))
    if len(record) > limit_bytes:
        raise ExportError(f"a record of {len(record)} bytes, {limit_bytes} is the most", retryable=False)
    return record

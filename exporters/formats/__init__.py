"""What one audit event looks like to a receiver: pure functions, one file a format.

A format returns the bytes of one record without any framing: the transport delimits, counts or wraps them.
Whatever an attacker put into a field, it is one record, and it reads back as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daemon.audit.record import SecurityAuditEvent


@dataclass(frozen=True, slots=True)
class Emitter:
    """Who speaks, and the receiver's wishes that some formats know."""

    hostname: str
    version: str
    """Of this program."""
    enterprise_number: int = 32473
    """For RFC 5424 structured data; the default is the one for examples (RFC 5612)."""
    ocsf_version: str = "1.8.0"


Format = Callable[[SecurityAuditEvent, Emitter], bytes]

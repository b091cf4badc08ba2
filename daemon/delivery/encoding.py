"""The formats of the exporters for who is none: `container-kit audit query`."""

from __future__ import annotations

import socket

from daemon import __version__
from daemon.audit.record import SecurityAuditEvent
from exporters.formats import Emitter
from exporters.formats.inventory import FORMATS

NAMES = tuple(FORMATS)


def encoded(event: SecurityAuditEvent, name: str) -> bytes:
    """One record, with this host as its origin."""
    return FORMATS[name](event, Emitter(hostname=socket.gethostname(), version=__version__))

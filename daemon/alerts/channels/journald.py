"""The journal of this host: a line to read, and fields to filter by."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from daemon.alerts.alert import Notification
from daemon.alerts.channels import ChannelKind, ChannelOptions
from exporters.journald import PRIORITIES, JournalReceiver, entry, send

MESSAGE_IDS = {
    status: uuid.uuid5(uuid.NAMESPACE_URL, f"container-kit:alert-{status}").hex
    for status in ("firing", "resolved")
}
RESOLVED_PRIORITY = 5
"""LOG_NOTICE (syslog(3)), however bad it had been."""


class JournaldOptions(ChannelOptions, JournalReceiver):
    pass


class Journald:
    def __init__(self, options: JournaldOptions) -> None:
        self._options = options

    async def tell(self, notification: Notification) -> None:
        await send(self._options.socket, [entry(_fields(notification))])

    async def close(self) -> None:
        """Nothing is open between two alerts."""


def _fields(notification: Notification) -> Iterator[tuple[str, bytes]]:
    fires = notification.status == "firing"
    yield "MESSAGE", notification.summary.encode(errors="backslashreplace")
    yield "MESSAGE_ID", MESSAGE_IDS[notification.status].encode()
    yield "PRIORITY", str(PRIORITIES[notification.severity] if fires else RESOLVED_PRIORITY).encode()
    yield "SYSLOG_IDENTIFIER", b"container-kitd-alert"
    for name in ("alert", "status", "severity", "subject", "count", "suppressed", "alert_id"):
        yield f"CONTAINER_KIT_{name.upper()}", str(getattr(notification, name)).encode()
    yield "CONTAINER_KIT_RECORD", notification.body


JOURNALD = ChannelKind(JournaldOptions, Journald)

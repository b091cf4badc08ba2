"""The kinds of channels, by the `kind` of their table in the settings."""

from __future__ import annotations

from daemon.alerts.channels import ChannelKind
from daemon.alerts.channels.alertmanager import ALERTMANAGER
from daemon.alerts.channels.command import COMMAND
from daemon.alerts.channels.journald import JOURNALD
from daemon.alerts.channels.webhook import WEBHOOK

KINDS: dict[str, ChannelKind] = {
    "journald": JOURNALD,
    "webhook": WEBHOOK,
    "alertmanager": ALERTMANAGER,
    "command": COMMAND,
}

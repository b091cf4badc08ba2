"""A web hook: a POST an alert, signed as those of the exporter are."""

from __future__ import annotations

from daemon.alerts.alert import Notification
from daemon.alerts.channels import ChannelKind, ChannelOptions
from exporters.embedding import value
from exporters.webhook import Hook, HookReceiver


class WebhookOptions(ChannelOptions, HookReceiver):
    pass


class Webhook:
    """`{"alert": {...}}`; any 2xx takes it."""

    def __init__(self, options: WebhookOptions) -> None:
        self._hook = Hook(options)

    async def tell(self, notification: Notification) -> None:
        await self._hook.post({"alert": value(notification.body)}, [notification.id])

    async def close(self) -> None:
        await self._hook.close()


WEBHOOK = ChannelKind(WebhookOptions, Webhook)

"""One channel's way from events to alerts: the exporter at the end of its Delivery."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from daemon.alerts.alert import Alert, Notification, notification
from daemon.alerts.channels import Channel
from daemon.alerts.evaluation import Evaluation
from daemon.alerts.memory import Memory, Remembered
from daemon.audit.record import SecurityAuditEvent
from daemon.errors import ExportError

REASON_LIMIT = 500

log = structlog.get_logger()


class Alerting:
    """`refused` is awaited for each alert that the receiver will never take, with the reason.

    An event is evaluated once, however often its batch comes. What the channel was not told yet waits in its
    order: at most what one batch and the alerts that fire can make, as no other comes before all is told.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        evaluations: Sequence[Evaluation],
        memory: Memory,
        refused: Callable[[str], Awaitable[None]],
        *,
        host: str,
        newest: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.evaluations = evaluations
        self.told: Counter[str] = Counter()
        """Messages that the channel took, by rule."""
        self.refusals = 0
        self._name, self._channel, self._memory, self._host = name, channel, memory, host
        self._refused, self._clock = refused, clock
        self._waiting: deque[Notification] = deque()
        self._taken = 0
        self._written = 0
        """The count of changes that the memory has."""
        self._recall(memory.read(), newest)

    @property
    def alerts(self) -> list[Alert]:
        return [alert for evaluation in self.evaluations for alert in evaluation.alerts]

    @property
    def untold(self) -> frozenset[str]:
        """The ids of alerts of which there is something on the way, or waiting for a channel that fails."""
        return frozenset(one.alert_id for one in self._waiting)

    def due_s(self) -> float | None:
        """How long until there is something to tell without a new event."""
        if self._waiting:
            return 0.0
        due_s = [one for each in self.evaluations if (one := each.next_due_s()) is not None]
        return max(0.0, min(due_s) - self._clock()) if due_s else None

    async def export(self, batch: Sequence[SecurityAuditEvent]) -> None:
        """Returns when the channel was told all that these events, and the time, make. Raises ExportError."""
        await self._take(batch)
        while self._waiting:
            await self._tell(self._waiting[0])
            self._waiting.popleft()
        if self._written != self._changes():
            await self._write()

    async def close(self) -> None:
        """With something untold, what was written before and the cursor lead to it again."""
        if not self._waiting:
            await self._write()
        await self._channel.close()

    async def _write(self) -> None:
        changes = self._changes()
        await asyncio.to_thread(self._memory.write, self._remembered())
        self._written = changes

    async def _take(self, batch: Sequence[SecurityAuditEvent]) -> None:
        now_s = self._clock()
        for event in batch:
            if event.seq > self._taken and event.details.get("alert_channel") != self._name:
                told = [each.take(event, now_s) for each in self.evaluations]
                self._waiting.extend(one for one in told if one)
            self._taken = max(self._taken, event.seq)
            await asyncio.sleep(0)  # many rules take their time, and others want the loop
        for each in self.evaluations:
            self._waiting.extend(each.due(now_s))

    def _changes(self) -> int:
        return sum(each.changes for each in self.evaluations)

    async def _tell(self, notification: Notification) -> None:
        try:
            await self._channel.tell(notification)
        except ExportError as error:
            if error.retryable:
                raise
            self.refusals += 1
            log.warning("alert refused", channel=self._name, alert=notification.alert, reason=str(error))
            await self._refused(str(error)[:REASON_LIMIT])
        else:
            self.told[notification.alert] += 1

    def _remembered(self) -> Remembered:
        suppressed = {each.rule.name: each.suppressed for each in self.evaluations if each.suppressed}
        return Remembered(seq=self._taken, alerts=self.alerts, suppressed=suppressed)

    def _recall(self, remembered: Remembered, newest: int) -> None:
        """Of rules that are no more, or do not name this channel any more, each alert is at an end."""
        self._taken = remembered.seq if remembered.seq <= newest else 0
        rules = {each.rule.name for each in self.evaluations}
        for each in self.evaluations:
            alerts = [alert for alert in remembered.alerts if alert.rule == each.rule.name]
            each.restore(alerts, remembered.suppressed.get(each.rule.name, 0), self._clock())
        ended = [alert for alert in remembered.alerts if alert.rule not in rules and alert.told]
        self._waiting.extend(notification(alert, "resolved", self._host) for alert in ended)
        self._written = -1 if ended else 0

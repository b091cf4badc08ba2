"""All rules and channels of the settings, each channel in a task of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from daemon.alerts.alerting import Alerting
from daemon.alerts.channels import Channel, ChannelOptions
from daemon.alerts.channels.inventory import KINDS
from daemon.alerts.evaluation import Evaluation
from daemon.alerts.limit import Limit
from daemon.alerts.memory import Memory
from daemon.alerts.rule import AlertRule
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.delivery.cursor import Cursor
from daemon.delivery.deliveries import close
from daemon.delivery.delivery import Delivery
from daemon.errors import AuditError, ConfigError
from daemon.findings import Severity
from exporters import Options

BATCH_EVENTS = 200
DEADLINE_S = 3600.0
"""Of all alerts of a batch; each has a deadline of its channel."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Line:
    """To one channel."""

    alerting: Alerting
    delivery: Delivery

    @property
    def name(self) -> str:
        return self.delivery.state.name

    def told(self, rule: AlertRule) -> int:
        """Messages that the channel took."""
        return self.alerting.told[rule.name]


class Alerts:
    """`tables` are the [[alert_channels]] of `source`; `rule_ids` those of all detectors.

    Raises ConfigError, which names the file, table and key.
    """

    def __init__(
        self,
        rules: Sequence[AlertRule],
        tables: Sequence[dict[str, Any]],
        source: Path,
        audit: AuditLog,
        state_dir: Path,
        rule_ids: Collection[str],
    ) -> None:
        self.rules = rules
        self.lines: list[Line] = []
        self._audit = audit
        _check_rules(rules, source, rule_ids)
        for index, table in enumerate(tables):
            where = f"{source}: alert_channels.{index} ({str(table.get('name', 'without a name'))[:64]})"
            options, channel = _made(where, table)
            self._check_use(where, options)
            self.lines.append(self._line(options, channel, state_dir / "alerts" / options.name))
        self._check_channels(source)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for line in self.lines:
                    tasks.create_task(line.delivery.run())
        finally:
            for line in self.lines:
                await close(line.alerting)

    def _line(self, options: ChannelOptions, channel: Channel, folder: Path) -> Line:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _begin_with_the_newest(folder, self._audit.newest)
        host = socket.gethostname()
        alerting = Alerting(
            options.name,
            channel,
            [
                Evaluation(rule, Limit(options.most, options.most_within_s), host)
                for rule in self.rules
                if options.name in rule.channels
            ],
            Memory(folder / "alerts.json"),
            partial(self._tell, options, "refused"),
            host=host,
            newest=self._audit.newest,
        )
        delivery = Delivery(
            alerting,
            Options(name=options.name, kind=options.kind, batch_events=BATCH_EVENTS),
            self._audit,
            folder,
            lambda _, reason: self._tell(options, "retrying", reason),
            due_s=alerting.due_s,
            deadline_s=DEADLINE_S,
        )
        return Line(alerting, delivery)

    async def _tell(self, channel: ChannelOptions, action: str, reason: str) -> None:
        """In the log, so for all other channels: the one that it is about passes it over."""
        event = SecurityAuditEvent(
            session_id="daemon",
            event_type=EventType.EXPORTER_FAILED,
            severity=Severity.HIGH,
            action=action,
            details={"alert_channel": channel.name, "kind": channel.kind, "reason": reason},
        )
        try:
            await self._audit.record(event)
        except AuditError as error:
            log.warning("not recorded", alert_channel=channel.name, reason=str(error))

    def _check_use(self, where: str, options: ChannelOptions) -> None:
        if options.name in {line.name for line in self.lines}:
            raise ConfigError(f"{where}: name: another channel has it; give each its own")
        if not any(options.name in rule.channels for rule in self.rules):
            raise ConfigError(f"{where}: no rule of alerts names it: name it in one's channels, or remove it")

    def _check_channels(self, source: Path) -> None:
        known = [line.name for line in self.lines]
        for index, rule in enumerate(self.rules):
            if unknown := sorted(set(rule.channels) - set(known)):
                there = ", ".join(known) or "none"
                raise ConfigError(
                    f"{source}: alerts.{index} ({rule.name}): channels: {unknown[0][:64]} is no channel of"
                    f" alert_channels: {there}"
                )


def _begin_with_the_newest(folder: Path, newest: int) -> None:
    """A new channel is told nothing old. Stored at once, so that a crash in its first batch loses nothing."""
    cursor = Cursor(folder / "cursor")
    if cursor.new:
        cursor.store(newest)


def _check_rules(rules: Sequence[AlertRule], source: Path, rule_ids: Collection[str]) -> None:
    names: set[str] = set()
    for index, rule in enumerate(rules):
        where = f"{source}: alerts.{index} ({rule.name})"
        if rule.name in names:
            raise ConfigError(f"{where}: name: another rule has it; give each its own")
        names.add(rule.name)
        if unknown := sorted(set(rule.rule_ids) - set(rule_ids)):
            raise ConfigError(
                f"{where}: rule_ids: {unknown[0][:64]!r} is of no detector; correct it, or leave it out"
            )


def _made(where: str, table: dict[str, Any]) -> tuple[ChannelOptions, Channel]:
    kind = KINDS.get(str(table.get("kind")))
    if kind is None:
        raise ConfigError(f"{where}: kind: one of {', '.join(sorted(KINDS))}")
    try:
        options = kind.options.model_validate(table)
        return options, kind.make(options)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key}: {first['msg']}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error

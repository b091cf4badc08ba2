"""All exporters of the settings, each in a task of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from daemon import __version__
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.delivery.delivery import Delivery
from daemon.errors import AuditError, ConfigError, ExportError
from daemon.findings import Severity
from exporters import Exporter, Kind, Options, Surroundings
from exporters.formats import Emitter, Format
from exporters.formats.inventory import FORMATS
from exporters.inventory import KINDS

PLUGINS = "container_kit.exporters"
CLOSE_DEADLINE_S = 5.0
LOOK_S = 5.0

log = structlog.get_logger()


class Deliveries:
    """`tables` are the [[exporters]] of `source`. Raises ConfigError, which names the file, table and key."""

    def __init__(
        self, tables: Sequence[dict[str, Any]], source: Path, audit: AuditLog, state_dir: Path
    ) -> None:
        self._audit = audit
        self._exporters: list[Exporter] = []
        self.all: list[Delivery] = []
        kinds = {**plug_ins(), **KINDS}
        names: set[str] = set()
        for index, table in enumerate(tables):
            where = f"{source}: exporters.{index} ({str(table.get('name', 'without a name'))[:64]})"
            options, kind = _options(where, table, kinds)
            if options.name in names:
                raise ConfigError(f"{where}: name: another exporter has it; give each its own")
            names.add(options.name)
            folder = state_dir / "exporters" / options.name
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            exporter = _made(where, kind, options, folder)
            self._exporters.append(exporter)
            due_s = partial(_look_s, options)
            self.all.append(Delivery(exporter, options, audit, folder, self._tell, due_s=due_s))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for delivery in self.all:
                    tasks.create_task(delivery.run())
        finally:
            for exporter in self._exporters:
                await close(exporter)

    async def _tell(self, delivery: Delivery, reason: str) -> None:
        event = SecurityAuditEvent(
            session_id="daemon",
            event_type=EventType.EXPORTER_FAILED,
            severity=Severity.HIGH,
            action="retrying",
            details={"exporter": delivery.state.name, "kind": delivery.state.kind, "reason": reason},
        )
        try:
            await self._audit.record(event)
        except AuditError as error:
            log.warning("not recorded", exporter=delivery.state.name, reason=str(error))


def plug_ins() -> dict[str, Kind]:
    """Those of other packages, by entry point; one that cannot be loaded is logged and left out."""
    found: dict[str, Kind] = {}
    for entry in entry_points(group=PLUGINS):
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # a stranger's code: its trouble is its own
            log.exception("exporter plug-in not loaded", plug_in=entry.value, reason=str(error))
    return found


def _options(where: str, table: dict[str, Any], kinds: dict[str, Kind]) -> tuple[Options, Kind]:
    kind = kinds.get(str(table.get("kind")))
    if kind is None:
        raise ConfigError(f"{where}: kind: one of {', '.join(sorted(kinds))}")
    try:
        options = kind.options.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key}: {first['msg']}") from error
    if options.format not in FORMATS:
        raise ConfigError(f"{where}: format: one of {', '.join(FORMATS)}")
    return options, kind


def _made(where: str, kind: Kind, options: Options, folder: Path) -> Exporter:
    emitter = Emitter(
        hostname=socket.gethostname(),
        version=__version__,
        enterprise_number=options.enterprise_number,
        ocsf_version=options.ocsf_version,
    )
    encode = partial(_encoded, FORMATS[options.format], emitter)
    try:
        return kind.make(options, Surroundings(encode, emitter.hostname, emitter.version, folder))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _look_s(options: Options) -> float | None:
    """When to look whether a receiver hung up, while nothing is sent: it may not have read the last ones."""
    return None if options.acknowledged else LOOK_S


def _encoded(form: Format, emitter: Emitter, event: SecurityAuditEvent) -> bytes:
    """Raises ExportError for that one event: the others must not wait for it."""
    try:
        return form(event, emitter)
    except Exception as error:
        raise ExportError(f"the format failed: {type(error).__name__}: {error}", retryable=False) from error


async def close(exporter: Exporter) -> None:
    try:
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await exporter.close()
    except Exception as error:  # at the end of the daemon; the cursor is stored already
        log.warning("exporter not closed", reason=str(error))

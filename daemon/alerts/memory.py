"""What a channel was told, kept over a restart: whoever heard of an alert hears of its end."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.alerts.alert import Alert
from daemon.delivery.durable import replace

log = structlog.get_logger()


class Remembered(BaseModel):
    """`seq` is of the last event that was evaluated; `suppressed` is by rule."""

    model_config = ConfigDict(extra="forbid")

    seq: int = 0
    alerts: list[Alert] = []
    suppressed: dict[str, int] = {}


class Memory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Remembered:
        """Nothing where there is none. A file that somebody spoiled is no reason to alert nobody."""
        try:
            return Remembered.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Remembered()
        except ValidationError as error:
            log.warning("alerts of an earlier run are forgotten", file=str(self._path), reason=str(error))
            return Remembered()

    def write(self, remembered: Remembered) -> None:
        """Durable when it returns. Raises OSError."""
        replace(self._path, remembered.model_dump_json())

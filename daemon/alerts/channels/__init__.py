"""Channels: each tells somebody of one alert. One file a kind; `inventory` lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from daemon.alerts.alert import Notification
from daemon.alerts.rule import NAME


class Channel(Protocol):
    async def tell(self, notification: Notification) -> None:
        """Returns when the receiver has it. Raises ExportError; the same may come again after that."""

    async def close(self) -> None: ...


class ChannelOptions(BaseModel):
    """What every table of [[alert_channels]] may say; a kind adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    kind: str
    most: int = Field(default=20, ge=1, le=1000)
    """Alerts of one rule within `most_within_s`, and as many that are worse."""
    most_within_s: float = Field(default=300.0, gt=0, le=86_400)


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """`make` gets an instance of `options`. Raises ConfigError for what cannot be honoured."""

    options: type[ChannelOptions]
    make: Callable[[Any], Channel]

"""The errors that cross a border of the program. Inside it, built-in exceptions do."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Self


class ConfigError(Exception):
    """The settings or a profile cannot be used; the message names the file and the key."""


class PolicyError(Exception):
    """A request asks for more than it may have; the message names what and says what to do."""


class RequestError(Exception):
    """What was asked for cannot be had, whoever asks."""


class EngineError(Exception):
    """The Docker Engine refused or failed a call; `status` is its HTTP status, 0 where it never answered."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @classmethod
    def answered(cls, content: bytes, status: int) -> Self:
        """With the engine's reason, which is in JSON where it is the engine that answers."""
        text = content.decode(errors="replace")
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            text = str(json.loads(text)["message"])
        return cls(text[:1000], status)


class EngineUnavailable(EngineError):
    """No Docker Engine answers on the socket that the settings name."""


class DaemonStopping(Exception):
    """Nothing is launched any more: what was on its way has got no go."""

    def __init__(self) -> None:
        super().__init__("the daemon is stopping: launch it again once it is back")


class ImageNotFound(EngineError):
    """The image is not on this host, and the profile does not let the daemon pull it."""


class AttestationError(Exception):
    """The sandbox is not the one that was asked for; it was killed before its first instruction."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("sandbox is not what was asked for: " + "; ".join(differences))
        self.differences = differences


class QuotaExceeded(PolicyError):
    """The caller's quota is used up; `retry_after_s` is set where time alone helps."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AuditError(Exception):
    """The audit log could not be made durable: nothing may be launched without a record of it."""


class SensorError(Exception):
    """A sensor cannot be used on this host, or died; the message says which and why."""


class ConfinementError(Exception):
    """What the profile confines cannot be confined here: the sandbox was not let go."""


class ResponseError(Exception):
    """A response to a finding could not be carried out."""


class ExportError(Exception):
    """A receiver did not take a batch. `retryable` is False where it never will: a record that it refuses."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable

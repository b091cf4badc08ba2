"""The inventory of checks. A check reads a Subject and returns what it found; it does no I/O but stat(2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from daemon.sandbox.egress import EgressPolicy
from daemon.sandbox.environment import Environment
from daemon.sandbox.facts import EngineFacts, HostFacts, ImageFacts
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profile
from daemon.sandbox.report import Control, Threat

Verdict = Threat | Control


@dataclass(frozen=True, slots=True)
class Subject:
    """One launch as it would happen: `body` is the very create body that would go to the engine."""

    options: SandboxOptions
    profile: Profile
    body: dict[str, Any]
    environment: Environment
    image: ImageFacts
    engine: EngineFacts
    host: HostFacts
    egress: EgressPolicy | None = None
    """None: it has no network, or may go anywhere."""
    gate: tuple[Verdict, ...] | None = None
    """What the image gate says. None: it has not judged."""

    @property
    def host_config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.body["HostConfig"]
        return config


Check = Callable[[Subject], Iterable[Verdict]]

"""Images that are not on this host yet, where the profile lets the daemon fetch them: trusted names alone.

What comes is judged like any other image before it runs; here is decided only whom to ask for it.
"""

from __future__ import annotations

import asyncio

from daemon.errors import ConfigError, EngineError, EngineUnavailable, PolicyError
from daemon.images.credentials import SETTING, Credentials, Login
from daemon.images.gate import Gate
from daemon.images.reference import Reference, parse
from daemon.images.single_flight import SingleFlight
from daemon.sandbox.checks.registry import allow_lists, untrusted
from daemon.sandbox.engine import Engine
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profile

AT_ONCE = 2


class Pulls:
    """Each image once, however many ask for it."""

    def __init__(self, engine: Engine, gate: Gate, credentials: Credentials) -> None:
        self._engine = engine
        self._gate = gate
        self._credentials = credentials
        self._flights: SingleFlight[Reference, None] = SingleFlight(0)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def pull(self, options: SandboxOptions, profile: Profile) -> None:
        """Raises PolicyError for a name that may not be asked for, ImageNotFound, EngineError."""
        reference = parse(options.image)
        if (reason := untrusted(reference, allow_lists(options, profile))) is not None:
            raise PolicyError(reason)
        if not self._gate.covers(reference):
            raise PolicyError(f"untrusted registry: no rule of the policy covers {reference.name}")
        await self._flights.get(reference, lambda: self._pull(reference))

    async def _pull(self, reference: Reference) -> None:
        login = self._login(reference)
        version = reference.digest or reference.tag or "latest"
        async with self._slots:
            try:
                await self._engine.pull(reference.name, version, login.for_engine() if login else None)
            except EngineUnavailable:
                raise
            except EngineError as error:
                by = f"asked as {login}" if login else f"asked without credentials: {SETTING} has none for it"
                raise type(error)(f"{error} ({by})", error.status) from error

    def _login(self, reference: Reference) -> Login | None:
        try:
            return self._credentials.of(reference.registry)
        except ConfigError as error:
            raise EngineError(f"image {reference} was not pulled: {error}") from error

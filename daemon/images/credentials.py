"""Who we are to registries: for their signatures, and for what the engine pulls from them.

Secrets are files or credentials of the service manager, read anew for each use, so that they can be replaced.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from daemon.errors import ConfigError, ExportError
from daemon.settings import RegistryLogin

SETTING = "images.registries"


@dataclass(frozen=True, slots=True)
class Login:
    """By a user name and password, or by a bearer token that the registry takes as it is: one of the two."""

    registry: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.username}, of {SETTING}" if self.username else f"the holder of the token of {SETTING}"

    @property
    def basic(self) -> str:
        """RFC 7617, the value of a header."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def for_engine(self) -> dict[str, str]:
        """X-Registry-Auth of the Engine's API."""
        if self.token:
            return {"registrytoken": self.token, "serveraddress": self.registry}
        return {"username": self.username, "password": self.password, "serveraddress": self.registry}


class Credentials:
    """`read` gives what a reference to a secret means; it raises ExportError."""

    def __init__(self, logins: Iterable[RegistryLogin], read: Callable[[str], str]) -> None:
        self._logins = {login.registry: login for login in logins}
        self._read = read

    def of(self, registry: str) -> Login | None:
        """None where nothing is said of it. Raises ConfigError where its secret cannot be had."""
        login = self._logins.get(registry)
        if login is None:
            return None
        try:
            password = self._read(login.password) if login.password else ""
            token = self._read(login.token) if login.token else ""
        except ExportError as error:
            raise ConfigError(f"{SETTING}: {registry}: {error}") from error
        return Login(registry, login.username, password, token)

    def check(self) -> None:
        """Raises ConfigError for the first secret that cannot be had."""
        for registry in self._logins:
            self.of(registry)


def _no_secret(_: str) -> str:
    raise ExportError("no secret is known")


NOBODY = Credentials((), _no_secret)

"""The client of nats-py, in clear only where that is wanted; imported only where the settings want NATS."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client


class SafeClient(Client):
    """By itself it goes on in clear, token and all, where whoever answers asks for no TLS."""

    def __init__(self, *, encrypted: bool) -> None:
        """Where not all connections are to be encrypted, those to tls:// are."""
        super().__init__()
        self._encrypted = encrypted

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        server = self._current_server
        if self._encrypted or (server and server.uri.scheme == "tls"):
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

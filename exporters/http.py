"""What the exporters over HTTP share: one session, TLS, time and size limits, and what an answer means."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, field_validator
from yarl import URL

from daemon.errors import ConfigError, ExportError
from exporters import Options, secret
from exporters.reason import reason
from exporters.tls import Tls, context

ANSWER_LIMIT_BYTES = 8 << 20
SHOWN = 200
REFUSALS = frozenset({400, 413, 422})
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class HttpReceiver(BaseModel):
    """Where it is, and how it is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    deadline_s: float = Field(default=30.0, gt=0, le=110)
    """Of one request."""
    tls: Tls = Tls()

    @field_validator("url")
    @classmethod
    def _plain_url(cls, text: str) -> str:
        url = URL(text)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("write http://HOST/ or https://HOST/")
        if url.user or url.password:
            raise ValueError("no user or password in a URL: it is shown; give the secret by its file")
        return text.rstrip("/")


class HttpOptions(Options, HttpReceiver):
    """Of an exporter."""


def refuse_bare_secret(url: str) -> None:
    """Raises ConfigError: over plain HTTP a secret goes to this machine alone."""
    parsed = URL(url)
    if parsed.scheme == "http" and parsed.host not in LOOPBACK:
        raise ConfigError("url: a secret would go over the net in clear: use https")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    hidden: str = ""
    """What we were let in by."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Raises ExportError."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ExportError(f"the receiver answered {self.status} with what is no JSON") from error

    def error(self, *, refusals: frozenset[int] = REFUSALS) -> ExportError:
        """A refusal is about this very batch; all else, also 401 or 404, may be put right without it."""
        shown = secret.masked(self.body.decode(errors="replace"), [self.hidden])[:SHOWN]
        return ExportError(
            f"the receiver answered {self.status}: {shown}", retryable=self.status not in refusals
        )


class Http:
    """The session is made at the first request and anew after a failure, so that renewed keys are read."""

    def __init__(self, options: HttpReceiver) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """To `url` and `path`. Raises ExportError when there is no answer."""
        try:
            session = self._session or self._open()
            async with session.post(
                self._options.url + path,
                data=io.BytesIO(body),  # sent in pieces: other tasks go on meanwhile
                headers={"Content-Type": content_type, **(headers or {})},
                allow_redirects=False,
                server_hostname=self._options.tls.server_name,
            ) as response:
                hidden = (headers or {}).get("Authorization", "").rpartition(" ")[2]
                return Answer(response.status, await _limited(response), hidden)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            await self.close()
            raise ExportError(f"no answer: {reason(error)}") from error

    def _open(self) -> aiohttp.ClientSession:
        secure = self._options.url.startswith("https:")
        connector = aiohttp.TCPConnector(ssl=context(self._options.tls) if secure else True, limit=4)
        timeout = aiohttp.ClientTimeout(total=self._options.deadline_s)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            raise aiohttp.ClientPayloadError("an answer of more than 8 MiB")
    return bytes(body)

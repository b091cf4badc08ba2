"""The daemon's HTTP API over its Unix socket."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from daemon.cli.errors import CommandError, Problem, Unreachable

Json = dict[str, Any]
MAX_LINE_BYTES = 8 << 20
CHUNK_BYTES = 1 << 16
STREAMED = {"Accept": "application/x-ndjson"}


class Client:
    """One connection pool; use it as an async context. Every method raises Problem or Unreachable."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=MAX_LINE_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        return await self._json("GET", path, query=query)

    async def content(self, path: str) -> bytes:
        """As it was sent."""
        async with self._request("GET", path) as answer:
            return await answer.read()

    async def launch(self, options: Json) -> Json:
        return await self._json("POST", "/v1/sandboxes", options)

    async def validate(self, options: Json) -> Json:
        return await self._json("POST", "/v1/validate", options)

    async def check_image(self, image: str, profile: str) -> Json:
        return await self._json("POST", "/v1/images/check", {"image": image, "profile": profile})

    async def check_signatures(self, image: str, profile: str) -> Json:
        return await self._json("POST", "/v1/images/sign-check", {"image": image, "profile": profile})

    async def items(self, path: str, **query: str) -> list[Json]:
        """All pages of a list."""
        page = await self.get(path, **query)
        items = list(page["items"])
        while page.get("next"):
            page = await self.get(path, **query, after=str(page["next"]))
            items += page["items"]
        return items

    async def show(self, sandbox_id: str, what: str = "") -> Json:
        """`what`: nothing for the sandbox itself, or report, usage, result; result waits for the end."""
        return await self.get(_sandbox(sandbox_id, what))

    async def order(self, sandbox_id: str, verb: str) -> Json:
        """`verb`: kill, pause or resume."""
        return await self._json("POST", _sandbox(sandbox_id, verb))

    async def remove(self, sandbox_id: str) -> None:
        async with self._request("DELETE", _sandbox(sandbox_id)):
            return

    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[Json, None]:
        query = {"follow": "true"} if follow else {}
        async with self._request(
            "GET", _sandbox(sandbox_id, "logs"), query=query, headers=STREAMED
        ) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def exec(self, sandbox_id: str, options: Json) -> AsyncGenerator[Json, None]:
        path = _sandbox(sandbox_id, "exec")
        async with self._request("POST", path, json=options, headers=STREAMED) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def events(self, query: dict[str, str]) -> AsyncIterator[Json]:
        """Data of the server-sent events; of a gap it is `first` and `last`. Other fields are passed over."""
        async with self._request("GET", "/v1/events", query=query) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line.removeprefix(b"data:"))

    async def put_file(self, sandbox_id: str, path: str, data: IO[bytes], *, tar: bool = False) -> None:
        kind = "application/x-tar" if tar else "application/octet-stream"
        headers = {"Content-Type": kind}
        url = _file(sandbox_id, path)
        async with self._request("PUT", url, query=_tar(tar), data=data, headers=headers):
            return

    async def get_file(self, sandbox_id: str, path: str, target: IO[bytes], *, tar: bool = False) -> None:
        async with self._request("GET", _file(sandbox_id, path), query=_tar(tar)) as answer:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                target.write(chunk)

    @asynccontextmanager
    async def attach(self, sandbox_id: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Raises Problem `sandbox-ended` when it has ended before the attach."""
        path = _sandbox(sandbox_id, "attach")
        try:
            socket = await self._session.ws_connect(_url(path, {}), max_msg_size=MAX_LINE_BYTES)
        except aiohttp.WSServerHandshakeError as error:
            await self.get(path)  # which is refused for the same reason, and says it
            raise CommandError("attach refused", f"HTTP {error.status}") from error
        except aiohttp.ClientError as error:
            raise self._failed(error) from error
        async with socket:
            yield socket

    async def _json(
        self, method: str, path: str, body: Json | None = None, query: dict[str, str] | None = None
    ) -> Json:
        async with self._request(method, path, query=query, json=body) as answer:
            value: Json = await answer.json()
            return value

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        **more: Any,  # of aiohttp
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, _url(path, query or {}), **more) as answer:
                if answer.status >= 400:
                    raise Problem(answer.status, await _problem(answer))
                yield answer
        except (aiohttp.ClientError, json.JSONDecodeError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> CommandError:
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._unreachable(error)
        remedy = "ask again; `journalctl -u container-kitd` says what the daemon did"
        return CommandError("the daemon's answer broke off", f"{error}: {remedy}")

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> Unreachable:
        if isinstance(error.os_error, PermissionError):
            remedy = "join the socket's group (ls -l shows it), or name another with --socket"
            return Unreachable(f"no permission to use {self._socket}", remedy)
        remedy = (
            "start it with `systemctl start container-kitd`, or run `container-kitd` as root;"
            " name another socket with --socket or CONTAINER_KIT_SOCKET"
        )
        return Unreachable(f"no daemon answers on {self._socket}", remedy)


def output_bytes(line: Json) -> bytes:
    """What the program wrote, exactly."""
    if "base64" in line:
        return base64.b64decode(line["base64"])
    return str(line["data"]).encode()


def _sandbox(sandbox_id: str, what: str = "") -> str:
    path = f"/v1/sandboxes/{quote(sandbox_id, safe='')}"
    return f"{path}/{what}" if what else path


def _file(sandbox_id: str, path: str) -> str:
    return _sandbox(sandbox_id, f"files/{quote(path)}")


def _tar(tar: bool) -> dict[str, str]:
    return {"tar": "true"} if tar else {}


def _url(path: str, query: dict[str, str]) -> URL:
    """The host is not looked up: a Unix socket has none."""
    return URL(f"http://container-kitd{path}?{urlencode(query)}".rstrip("?"), encoded=True)


async def _problem(answer: aiohttp.ClientResponse) -> Json:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        return {"title": f"HTTP {answer.status}", "detail": str(answer.reason)}
    return body if isinstance(body, dict) else {}

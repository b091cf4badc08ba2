"""The Docker Engine: control through the SDK on a bounded thread pool; a launch's own calls without threads.

A call through the SDK costs 0.9 to 1.5 ms more than the same request over aiohttp. What a launch waits for
(image, create, inspect, start, wait) and what lasts (attach, exec) is therefore spoken to the socket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import docker
import docker.errors
import requests
from yarl import URL

from daemon.errors import EngineError, EngineUnavailable, ImageNotFound
from daemon.sandbox.facts import EngineFacts, ImageFacts
from daemon.sandbox.hijacked import Hijacked, hijack

API = "1.41"  # Docker 20.10, the oldest that this program speaks to
THREADS = 8
CONNECTIONS = 32
DEADLINE_S = 60.0
PULL_DEADLINE_S = 600.0
LABEL = "container-kit.sandbox"
SESSION_LABEL = "container-kit.session"
INSTANCE_LABEL = "container-kit.instance"

T = TypeVar("T")


class Engine:
    """Every call has a deadline and raises EngineError or a subclass, with the engine's own words."""

    def __init__(self, socket: Path, *, deadline_s: float = DEADLINE_S) -> None:
        self.socket = socket
        self.may_have_left = asyncio.Event()
        """A container: it was not removed, or not told of; and nobody has looked for it since."""
        self._deadline_s = deadline_s
        self._client = docker.APIClient(
            base_url=f"unix://{socket}", version=API, timeout=int(deadline_s), max_pool_size=THREADS
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")
        connector = aiohttp.UnixConnector(path=str(socket), limit=CONNECTIONS)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout())

    async def close(self) -> None:
        await self._http.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def facts(self) -> EngineFacts:
        info, version = await asyncio.gather(self._call(self._client.info), self._call(self._client.version))
        return EngineFacts.of(info, version)

    async def ping(self) -> None:
        await self._call(self._client.ping)

    async def image(self, name: str) -> ImageFacts:
        try:
            return ImageFacts.of(await self._ask("GET", f"/images/{quote(name, safe='/:')}/json"))
        except EngineError as error:
            if error.status == 404:
                raise ImageNotFound(
                    f"image {name!r} is not on this host: build, import or pull it first", 404
                ) from error
            raise

    async def pull(self, name: str, version: str, login: dict[str, str] | None = None) -> None:
        """`version` is a tag or a digest. Raises ImageNotFound, EngineError.

        Without `login` as nobody: what root has in its ~/.docker/config.json is not ours to use.
        """
        pull = partial(self._client.pull, name, tag=version, auth_config=login or {})
        try:
            answer = await self._call(pull, deadline_s=PULL_DEADLINE_S)
        except EngineError as error:
            if error.status == 404:
                raise ImageNotFound(str(error), 404) from error
            raise
        problems = [line["error"] for line in map(json.loads, str(answer).splitlines()) if "error" in line]
        if problems:
            raise EngineError(f"image {name}:{version} was not pulled: {problems[0]}"[:1000], 500)

    async def image_ids(self) -> set[str]:
        return {str(image["Id"]) for image in await self._ask("GET", "/images/json?all=true")}

    async def create(self, body: dict[str, Any], name: str) -> str:
        try:
            made = await self._ask("POST", f"/containers/create?name={quote(name)}", body)
        except EngineError as error:
            if not error.status:
                self.may_have_left.set()
            raise
        return str(made["Id"])

    async def start(self, container_id: str) -> None:
        await self._ask("POST", f"/containers/{container_id}/start")

    async def inspect(self, container_id: str) -> dict[str, Any]:
        inspected: dict[str, Any] = await self._ask("GET", f"/containers/{container_id}/json")
        return inspected

    async def changes(self, container_id: str, limit_bytes: int) -> bytes:
        """The JSON of what its writable layer has besides the image; cut where it is longer."""
        url = URL(f"http://docker/v{API}/containers/{container_id}/changes", encoded=True)
        try:
            async with asyncio.timeout(self._deadline_s), self._http.get(url) as response:
                content = await _at_most(response.content, limit_bytes)
        except TimeoutError as error:
            raise self._late() from error
        except aiohttp.ClientError as error:
            raise self._unavailable() from error
        if response.status >= 400:
            raise EngineError.answered(content, response.status)
        return content

    async def image_of(self, container_id: str) -> str:
        """The id of the image that it was made from; also while it starts, when `inspect` has to wait."""
        filters = quote(json.dumps({"id": [container_id]}))
        listed = await self._ask("GET", f"/containers/json?all=true&filters={filters}")
        if len(listed) != 1:
            raise EngineError(f"container {container_id[:12]} is gone", 404)
        return str(listed[0]["ImageID"])

    async def gateway(self, network: str) -> IPv4Address:
        """The host's own address in a bridge network."""
        found = await self._ask("GET", f"/networks/{quote(network)}")
        for config in (found.get("IPAM") or {}).get("Config") or ():
            with suppress(ValueError):
                return IPv4Address(str(config.get("Gateway")))
        raise EngineError(f"network {network!r} has no IPv4 gateway: name a bridge network in the profile")

    async def kill(self, container_id: str, signal: str = "SIGKILL") -> None:
        """A container that is gone or has ended already is as killed as it can be."""
        await self._tolerate({404, 409}, self._client.kill, container_id, signal)

    async def pause(self, container_id: str) -> None:
        await self._call(self._client.pause, container_id)

    async def unpause(self, container_id: str) -> None:
        await self._call(self._client.unpause, container_id)

    async def remove(self, container_id: str) -> None:
        """With its anonymous volumes; gone already, or going, is fine."""
        try:
            await self._tolerate({404, 409}, self._remove, container_id)
        except EngineError:
            self.may_have_left.set()
            raise

    async def managed(self, instance: str) -> list[dict[str, Any]]:
        """Every container, running or not, that a daemon with this state directory made."""
        listed: list[dict[str, Any]] = await self._call(self._list, f"{INSTANCE_LABEL}={instance}")
        return listed

    async def running(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = await self._call(self._client.containers)
        return listed

    @asynccontextmanager
    async def events(
        self, actions: Iterable[str], kind: str = "container"
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """What happens to all of a kind from now on, to the engine's end; entered once subscribed."""
        filters = json.dumps({"type": [kind], "event": list(actions)})
        url = URL(f"http://docker/v{API}/events").with_query(filters=filters)
        try:
            async with self._http.get(url) as response:
                yield _json_lines(response.content)
        except aiohttp.ClientError as error:
            raise self._unavailable() from error

    async def attach(self, container_id: str, *, tty: bool) -> Hijacked:
        path = f"/v{API}/containers/{container_id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        return await hijack(self.socket, path, tty=tty)

    async def exec(self, container_id: str, config: dict[str, Any]) -> tuple[str, Hijacked]:
        made = await self._call(self._exec_create, container_id, config)
        exec_id = str(made["Id"])
        tty = bool(config.get("Tty"))
        start = {"Detach": False, "Tty": tty}
        return exec_id, await hijack(self.socket, f"/v{API}/exec/{exec_id}/start", start, tty=tty)

    async def exec_exit_code(self, exec_id: str) -> int | None:
        inspected = await self._call(self._client.exec_inspect, exec_id)
        code: int | None = inspected["ExitCode"]
        return code

    async def resize(self, container_id: str, rows: int, columns: int) -> None:
        await self._call(self._client.resize, container_id, rows, columns)

    async def wait(self, container_id: str) -> int:
        """The exit status of a container whose first process has ended, once the engine knows it."""
        answer = await self._ask("POST", f"/containers/{container_id}/wait?condition=not-running")
        return int(answer["StatusCode"])

    def _remove(self, container_id: str) -> None:
        self._client.remove_container(container_id, v=True, force=True)

    def _list(self, label: str) -> Any:
        return self._client.containers(all=True, filters={"label": label})

    def _exec_create(self, container_id: str, config: dict[str, Any]) -> Any:
        client: Any = self._client  # the SDK has no call that takes a whole exec configuration
        answer = client._post_json(client._url("/containers/{0}/exec", container_id), data=config)  # noqa: SLF001
        return client._result(answer, json=True)  # noqa: SLF001

    async def _tolerate(self, statuses: set[int], call: Callable[..., Any], *args: Any) -> None:
        try:
            await self._call(call, *args)
        except EngineError as error:
            if error.status not in statuses:
                raise

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._exchange(method, path, body)
        except TimeoutError as error:
            raise self._late() from error

    async def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """The answer's JSON, None where it has no content."""
        url = URL(f"http://docker/v{API}{path}", encoded=True)
        try:
            async with self._http.request(method, url, json=body) as response:
                content = await response.read()
        except aiohttp.ClientError as error:
            raise self._unavailable() from error
        if response.status >= 400:
            raise EngineError.answered(content, response.status)
        return json.loads(content) if content else None

    async def _call(self, call: Callable[..., T], *args: Any, deadline_s: float | None = None) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline_s or self._deadline_s):
                return await loop.run_in_executor(self._threads, lambda: call(*args))
        except docker.errors.APIError as error:
            status = error.response.status_code if error.response is not None else 0
            raise EngineError(str(error.explanation or error), status) from error
        except (requests.ConnectionError, docker.errors.DockerException) as error:
            raise self._unavailable() from error
        except (TimeoutError, requests.Timeout) as error:
            raise self._late() from error

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(f"no Docker Engine answers on {self.socket}: start it, or set engine_socket")

    def _late(self) -> EngineError:
        return EngineError(f"the Docker Engine did not answer within {self._deadline_s:.0f} s")


async def _json_lines(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    async for line in content:
        yield json.loads(line)


async def _at_most(content: aiohttp.StreamReader, limit_bytes: int) -> bytes:
    data = b""
    while len(data) < limit_bytes and (part := await content.read(limit_bytes - len(data))):
        data += part
    return data

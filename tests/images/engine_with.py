"""The real engine, and in front of it images that it would not take: those that tests make to do harm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from daemon.images.findings import SavedImage
from tests.engine_proxy import ENGINE

START_DEADLINE_S = 30.0
OWN_HEADERS = {"Connection", "Content-Length", "Host", "Transfer-Encoding"}


class _Front:
    def __init__(self, images: dict[str, SavedImage]) -> None:
        self._images = images | {image.image_id: image for image in images.values()}
        self._tags = {image.image_id: name for name, image in images.items()}

    async def serve(self, socket: Path, started: threading.Event, stop: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_get("/{version}/images/{name:.+}/{what:json|get}", self._image)
        app.router.add_route("*", "/{rest:.*}", self._relay)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        started.set()
        await stop.wait()
        await runner.cleanup()

    async def _image(self, request: web.Request) -> web.StreamResponse:
        image = self._images.get(request.match_info["name"])
        if image is None:
            return await self._relay(request)
        if request.match_info["what"] == "get":
            return web.FileResponse(image.path)
        tag = self._tags[image.image_id]
        return web.json_response({"Id": image.image_id, "RepoTags": [tag], "RepoDigests": [], "Config": {}})

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        """All but what takes over the connection: nothing can be launched through it."""
        connector = aiohttp.UnixConnector(str(ENGINE))
        async with (
            aiohttp.ClientSession("http://engine", connector=connector) as session,
            session.request(request.method, request.rel_url, data=await request.read()) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name not in OWN_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            return response


@contextmanager
def engine_with(folder: Path, images: dict[str, SavedImage]) -> Iterator[Path]:
    """Its socket. `images` by the names that they are to have."""
    socket, started, stop = folder / "engine.sock", threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def run() -> None:
        loop.run_until_complete(_Front(images).serve(socket, started, stop))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        if not started.wait(START_DEADLINE_S):
            raise RuntimeError(f"nothing listens on {socket}")
        yield socket
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()

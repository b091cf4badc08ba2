"""Writes an image of the engine to a file, as `docker save` does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import aiohttp
from yarl import URL

from daemon.errors import EngineError, EngineUnavailable, ImageNotFound
from daemon.images.findings import SavedImage

API = "v1.41"
ARCHIVE_BYTES = 32 << 30
CONNECT_S, SILENCE_S = 10.0, 120.0
_CHUNK_BYTES = 1 << 20


async def save(socket: Path, name: str, folder: Path) -> SavedImage:
    """By its id, so that a tag that moves meanwhile changes nothing. Raises EngineError."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    connector = aiohttp.UnixConnector(path=str(socket))
    try:
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=_CHUNK_BYTES
        ) as session:
            image_id = await _image_id(session, name)
            path = folder / f"{image_id.removeprefix('sha256:')}.tar"
            await _write(session, image_id, path)
            return SavedImage(image_id, path)
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError) as error:
        raise EngineUnavailable(f"no Docker Engine answers on {socket}: start it") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineError(f"the Docker Engine broke off: {error}") from error


async def _image_id(session: aiohttp.ClientSession, name: str) -> str:
    async with session.get(_url(name, "json")) as answer:
        if answer.status == 404:
            raise ImageNotFound(f"image {name!r} is not on this host: build, import or pull it first", 404)
        if answer.status != 200:
            raise EngineError.answered(await answer.read(), answer.status)
        return str((await answer.json())["Id"])


async def _write(session: aiohttp.ClientSession, image_id: str, path: Path) -> None:
    size_bytes = 0
    async with session.get(_url(image_id, "get")) as answer:
        if answer.status != 200:
            raise EngineError.answered(await answer.read(), answer.status)
        with path.open("wb") as file:
            async for part in answer.content.iter_chunked(_CHUNK_BYTES):
                size_bytes += await asyncio.to_thread(file.write, part)
                if size_bytes > ARCHIVE_BYTES:
                    raise EngineError(f"image {image_id} has over {ARCHIVE_BYTES} bytes")


def _url(name: str, what: str) -> URL:
    return URL(f"http://docker/{API}/images/{quote(name, safe='/:')}/{what}", encoded=True)

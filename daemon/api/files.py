"""The workspace in and out: single files, and trees as tar."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import IO

from aiohttp import web

from daemon.api.access import Access, Caller, record_access
from daemon.api.problem_types import (
    AUDIT_UNAVAILABLE,
    FILE_REFUSED,
    OF_ONE_SANDBOX,
    PATH_REFUSED,
    TOO_LARGE,
    WORKSPACE_FULL,
)
from daemon.api.problems import ApiError, not_found
from daemon.api.routes import BOOLEAN, Route, flag
from daemon.sandbox.beneath import PathRefused
from daemon.sandbox.sandbox import Sandbox
from daemon.sandbox.workspace import TooLarge, WorkspaceFull

MAX_FILE_BYTES = 64 << 20
MAX_TAR_BYTES = 1 << 30
IN_MEMORY_BYTES = 1 << 20
RECORDED_CHARACTERS = 256
_MORE = {
    MAX_FILE_BYTES: "send it as a tar with tar=true, as `cp` does of a folder",
    MAX_TAR_BYTES: "send it in parts",
}
TAR = "application/x-tar"


class Files:
    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        path = "/v1/sandboxes/{id}/files/{path}"
        raw = "application/octet-stream"
        refused = (PATH_REFUSED, FILE_REFUSED, TOO_LARGE, WORKSPACE_FULL)
        errors = (*OF_ONE_SANDBOX, *refused, AUDIT_UNAVAILABLE)
        put = "Write a file of the workspace, 64 MiB at most, or with tar=true a tree below that folder"
        get = "Read a file of the workspace, or with tar=true a tree"
        tar = {"tar": BOOLEAN}
        return [
            Route("PUT", path, self.put, put, status=204, query=tar, errors=errors, binary_body=True),
            Route(
                "GET", path, self.get, get, content_type=raw, query=tar, other_content_type=TAR, errors=errors
            ),
        ]

    async def put(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        path, tar = request.match_info["path"], flag(request, "tar")
        # Large bodies wait on the disk, unnamed; the workspace's calls block and run in a thread.
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as body:
            await _receive(request, body, MAX_TAR_BYTES if tar else MAX_FILE_BYTES)
            await _record(caller, sandbox, "write files", path)
            try:
                if tar:
                    await asyncio.to_thread(sandbox.workspace.put_tar, body, below=path)
                else:
                    await asyncio.to_thread(sandbox.workspace.write, path, body.read())
            except (OSError, ValueError) as error:
                raise _problem(error) from error
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        path, tar = request.match_info["path"], flag(request, "tar")
        await _record(caller, sandbox, "read files", path)
        try:
            if tar:
                return await _send_tar(request, sandbox.workspace.get_tar(path))
            data = await asyncio.to_thread(sandbox.workspace.read, path, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise _problem(error) from error
        return web.Response(body=data, content_type="application/octet-stream")

    def _sandbox(self, request: web.Request) -> tuple[Caller, Sandbox]:
        caller = self._access.caller(request)
        return caller, self._access.sandbox(caller, request.match_info["id"])


async def _record(caller: Caller, sandbox: Sandbox, action: str, path: str) -> None:
    """An administrator's reach into what is another's. An owner's own files come and go by the thousand."""
    if caller.actor.uid != sandbox.owner.uid:
        await record_access(caller, sandbox, action, path=path[:RECORDED_CHARACTERS])


async def _receive(request: web.Request, body: IO[bytes], limit_bytes: int) -> None:
    async for chunk in request.content.iter_any():
        body.write(chunk)
        if body.tell() > limit_bytes:
            raise ApiError(TOO_LARGE, f"more than {limit_bytes} bytes: {_MORE[limit_bytes]}")
    body.seek(0)


async def _send_tar(request: web.Request, pieces: Iterator[bytes]) -> web.StreamResponse:
    """The first piece is made before the answer starts: a wrong path is a problem, not a short tar."""
    first = await asyncio.to_thread(next, pieces, b"")
    response = web.StreamResponse(headers={"Content-Type": TAR})
    await response.prepare(request)
    await response.write(first)
    while piece := await asyncio.to_thread(next, pieces, b""):
        await response.write(piece)
    return response


def _problem(error: Exception) -> ApiError:
    match error:
        case TooLarge():
            return ApiError(TOO_LARGE, f"{error}: fetch it with tar=true, as `cp -r` does")
        case WorkspaceFull():
            return ApiError(WORKSPACE_FULL, str(error))
        case PathRefused():
            return ApiError(PATH_REFUSED, str(error))
        case FileNotFoundError():
            return not_found("that file")
    return ApiError(FILE_REFUSED, str(error))

"""The workspace in and out: single files, and trees as tar."""

from __future__ import annotations

import asyncio

from aiohttp import web

from daemon.api.access import Access
from daemon.api.problems import ApiError, not_found
from daemon.api.routes import BOOLEAN, Route, flag
from daemon.sandbox.sandbox import Sandbox
from daemon.sandbox.workspace import PathRefused, WorkspaceFull

MAX_FILE_BYTES = 64 << 20


class Files:
    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        path = "/v1/sandboxes/{id}/files/{path}"
        raw = "application/octet-stream"
        errors = (400, 403, 404, 413, 507)
        return [
            Route(
                "PUT",
                path,
                self.put,
                "Write a file of the workspace, 64 MiB at most",
                status=204,
                errors=errors,
                binary_body=True,
            ),
            Route("GET", path, self.get, "Read a file of the workspace", content_type=raw, errors=errors),
        ]

    async def put(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        data = await request.read()
        try:
            await asyncio.to_thread(sandbox.workspace.write, request.match_info["path"], data, 0o644)
        except (OSError, ValueError) as error:
            raise _problem(error) from error
        return web.Response(status=204)

    async def get(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        try:
            data = await asyncio.to_thread(sandbox.workspace.read, request.match_info["path"], MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise _problem(error) from error
        return web.Response(body=data, content_type="application/octet-stream")

    def _sandbox(self, request: web.Request) -> Sandbox:
        return self._access.sandbox(self._access.caller(request), request.match_info["id"])


def _problem(error: Exception) -> ApiError:
    match error:
        case WorkspaceFull():
            return ApiError(507, "workspace-full", "workspace full", str(error))
        case PathRefused():
            return ApiError(400, "path-refused", "path refused", str(error))
        case FileNotFoundError():
            return not_found("that file")
    return ApiError(400, "file-refused", "file refused", str(error))

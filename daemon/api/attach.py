"""Interactive sandboxes over a WebSocket. From the server: one byte, 1 stdout or 2 stderr, then data.
From the client: binary is input; text is {"resize": [rows, columns]} or {"eof": true}."""

from __future__ import annotations

import asyncio
import json

from aiohttp import WSMsgType, web

from daemon.api.access import Access
from daemon.api.problems import ApiError
from daemon.api.routes import Route
from daemon.sandbox.executor import Executor
from daemon.sandbox.sandbox import Sandbox, State

MAX_MESSAGE_BYTES = 1 << 20
MAX_CELLS = 4096


class Attach:
    def __init__(self, executor: Executor, access: Access) -> None:
        self._executor = executor
        self._access = access

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/sandboxes/{id}/attach",
                self.attach,
                "Type to it and read it (WebSocket)",
                status=101,
                errors=(400, 403, 404, 409),
            )
        ]

    async def attach(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._access.sandbox(self._access.caller(request), request.match_info["id"])
        if sandbox.state is State.ENDED or not sandbox.options.interactive:
            raise ApiError(
                409,
                "not-interactive",
                "not interactive",
                "launch it with interactive: true, and attach while it runs",
            )
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=30)
        if not socket.can_prepare(request):
            raise ApiError(400, "not-a-websocket", "not a WebSocket", "connect with the WebSocket protocol")
        await socket.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            typing = tasks.create_task(self._input(socket, sandbox))
            async for output in sandbox.output.read(follow=True):
                if socket.closed:
                    break
                await socket.send_bytes(bytes([output.channel]) + output.data)
            typing.cancel()
        await socket.close()
        return socket

    async def _input(self, socket: web.WebSocketResponse, sandbox: Sandbox) -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await sandbox.stream.write(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._order(sandbox, message.data)

    async def _order(self, sandbox: Sandbox, text: str) -> None:
        """What is not understood is ignored: a terminal's size is no reason to end it."""
        try:
            order = json.loads(text)
        except ValueError:
            return
        match order:
            case {"eof": True}:
                sandbox.stream.end_input()
            case {"resize": [int(rows), int(columns)]} if 0 < rows < MAX_CELLS and 0 < columns < MAX_CELLS:
                await self._executor.engine.resize(sandbox.container_id, rows, columns)

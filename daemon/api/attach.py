"""Interactive sandboxes over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from daemon.api.access import Access, record_access
from daemon.api.presence import while_connected
from daemon.api.problem_types import (
    AUDIT_UNAVAILABLE,
    NOT_A_WEBSOCKET,
    NOT_INTERACTIVE,
    OF_ONE_SANDBOX,
    SANDBOX_ENDED,
)
from daemon.api.problems import ApiError
from daemon.api.routes import Route
from daemon.api.states import ended
from daemon.errors import EngineError
from daemon.sandbox.executor import Executor
from daemon.sandbox.farewell import has_ended
from daemon.sandbox.output import TooSlow
from daemon.sandbox.sandbox import Sandbox, State

MAX_MESSAGE_BYTES = 1 << 20
MAX_CELLS = 4096
HEARTBEAT_S = 30.0

MESSAGES = (
    "A WebSocket. From the server: binary, one byte 1 (stdout) or 2 (stderr), then the data; first what was "
    "kept of earlier output. To the server: binary is input; text is "
    '{"resize": [rows, columns]} or {"eof": true}. The server closes it when the output ends. '
    "A client that leaves does not end the sandbox, and several may be attached."
)

log = structlog.get_logger()


class Attach:
    """A client that leaves does not end the sandbox; another may attach, and sees its kept output anew.

    As a terminal does, a client that reads slowly holds the program up; one that does not read is let go of.
    """

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
                description=MESSAGES,
                errors=(*OF_ONE_SANDBOX, NOT_A_WEBSOCKET, NOT_INTERACTIVE, SANDBOX_ENDED, AUDIT_UNAVAILABLE),
            )
        ]

    async def attach(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        sandbox = self._access.sandbox(caller, request.match_info["id"])
        if not sandbox.options.interactive:
            raise ApiError(NOT_INTERACTIVE, "its input is closed: launch it with interactive: true")
        if sandbox.state is State.ENDED:
            raise ended()
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=HEARTBEAT_S)
        if not socket.can_prepare(request):
            raise ApiError(NOT_A_WEBSOCKET, "connect with the WebSocket protocol")
        await record_access(caller, sandbox, "attach")
        await socket.prepare(request)
        # Its last output is read without delay: the daemon waits for it only for a moment.
        sandbox.stream.hold = lambda: sandbox.output.caught_up(lambda: has_ended(sandbox.pidfd))
        async with while_connected(request):
            await self._converse(socket, sandbox)
        return socket

    async def _converse(self, socket: web.WebSocketResponse, sandbox: Sandbox) -> None:
        """Until the output ends or the client leaves."""
        async with asyncio.TaskGroup() as tasks:
            typing = tasks.create_task(self._type(socket, sandbox))
            showing = tasks.create_task(_show(socket, sandbox))
            await asyncio.wait([typing, showing], return_when=asyncio.FIRST_COMPLETED)
            typing.cancel()
            showing.cancel()

    async def _type(self, socket: web.WebSocketResponse, sandbox: Sandbox) -> None:
        """Until the client leaves; what comes after the program's end is for nobody."""
        async for message in socket:
            with suppress(ConnectionError):
                if message.type is WSMsgType.BINARY:
                    await sandbox.stream.write(message.data)
                elif message.type is WSMsgType.TEXT:
                    await self._order(sandbox, message.data)

    async def _order(self, sandbox: Sandbox, text: str) -> None:
        """What is not understood is ignored: a terminal's size is no reason to end it."""
        try:
            order = json.loads(text)
        except (ValueError, RecursionError):
            return
        match order:
            case {"eof": True}:
                sandbox.stream.end_input()
            case {"resize": [int(rows), int(columns)]} if 0 < rows < MAX_CELLS and 0 < columns < MAX_CELLS:
                await self._resize(sandbox, rows, columns)

    async def _resize(self, sandbox: Sandbox, rows: int, columns: int) -> None:
        try:
            await self._executor.engine.resize(sandbox.container_id, rows, columns)
        except EngineError as error:
            log.debug("terminal not resized", sandbox_id=sandbox.id, reason=str(error))


async def _show(socket: web.WebSocketResponse, sandbox: Sandbox) -> None:
    with suppress(ConnectionError):  # the client has left
        try:
            async for output in sandbox.output.live():
                await socket.send_bytes(bytes([output.channel]) + output.data)
        except TooSlow as error:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=str(error).encode())
        else:
            await socket.close()

"""Looking at sandboxes, pausing them, ending them."""

from __future__ import annotations

import structlog
from aiohttp import web

from daemon.api.access import Access, Caller, record_access
from daemon.api.pages import QUERY, page
from daemon.api.presence import while_connected
from daemon.api.problem_types import (
    ENGINE_REFUSED,
    ENGINE_UNAVAILABLE,
    OF_ANY_CALLER,
    OF_ONE_SANDBOX,
    SANDBOX_ENDED,
    WRONG_STATE,
)
from daemon.api.routes import BOOLEAN, Route, answer, flag
from daemon.api.states import ended, expect
from daemon.api.streaming import IN_LINES, LINES, lines, output_line, send_line
from daemon.api.views import SandboxList, SandboxView, UsageView, result_of
from daemon.errors import AuditError
from daemon.sandbox.cgroup import CgroupGone
from daemon.sandbox.executor import Executor
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.resources import network_bytes
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox, State

OF_ORDERS = (*OF_ONE_SANDBOX, ENGINE_REFUSED, ENGINE_UNAVAILABLE)
OF_FREEZING = (*OF_ORDERS, SANDBOX_ENDED, WRONG_STATE)

OF_LOGS = f'{IN_LINES} What went over the limit is a line {{"dropped_bytes": {{stream: number}}}}.'

log = structlog.get_logger()


class Sandboxes:
    def __init__(self, executor: Executor, access: Access) -> None:
        self._executor = executor
        self._access = access

    def routes(self) -> list[Route]:
        return [*self._views(), *self._orders()]

    def _views(self) -> list[Route]:
        one = "/v1/sandboxes/{id}"
        output = "What it wrote and is kept, in order; with follow=true until its end"
        of_usage = (*OF_ONE_SANDBOX, SANDBOX_ENDED)
        follow = {"follow": BOOLEAN}
        return [
            Route(
                "GET",
                "/v1/sandboxes",
                self.list,
                "Your sandboxes, oldest first",
                answer=SandboxList,
                query=QUERY,
                errors=OF_ANY_CALLER,
            ),
            Route("GET", one, self.show, "One sandbox", answer=SandboxView),
            Route("GET", one + "/result", self.result, "Wait for its end", answer=ExecutionResult),
            Route(
                "GET",
                one + "/logs",
                self.logs,
                output,
                content_type=LINES,
                query=follow,
                description=OF_LOGS,
            ),
            Route(
                "GET",
                one + "/report",
                self.report,
                "What was judged before it started",
                answer=SecurityReport,
            ),
            Route("GET", one + "/usage", self.usage, "What it uses now", answer=UsageView, errors=of_usage),
        ]

    def _orders(self) -> list[Route]:
        one = "/v1/sandboxes/{id}"
        kill, forget = "Kill it; its result stays", "Kill it if it runs and forget it, with its workspace"
        pause, resume = "Freeze it", "Let it go on"
        return [
            Route("POST", one + "/kill", self.kill, kill, answer=SandboxView, errors=OF_ORDERS),
            Route("POST", one + "/pause", self.pause, pause, answer=SandboxView, errors=OF_FREEZING),
            Route("POST", one + "/resume", self.resume, resume, answer=SandboxView, errors=OF_FREEZING),
            Route("DELETE", one, self.delete, forget, status=204, errors=OF_ORDERS),
        ]

    async def list(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        seen = sorted((s for s in self._executor.registry if caller.may_see(s.owner.uid)), key=_position)
        which, after = page(request, [_position(sandbox) for sandbox in seen])
        return answer(SandboxList(items=[SandboxView.of(sandbox) for sandbox in seen[which]], next=after))

    async def show(self, request: web.Request) -> web.StreamResponse:
        return answer(SandboxView.of(self._sandbox(request)[1]))

    async def result(self, request: web.Request) -> web.StreamResponse:
        _, sandbox = self._sandbox(request)
        async with while_connected(request):
            return answer(await result_of(sandbox))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        follow = flag(request, "follow")
        _, sandbox = self._sandbox(request)
        async with while_connected(request), lines(request) as response:
            async for output in sandbox.output.read(follow=follow):
                await send_line(response, output_line(output))
            if dropped := sandbox.output.dropped_bytes():
                counts = {channel.name.lower(): count for channel, count in dropped.items()}
                await send_line(response, {"dropped_bytes": counts})
        return response

    async def report(self, request: web.Request) -> web.StreamResponse:
        return answer(self._sandbox(request)[1].report)

    async def usage(self, request: web.Request) -> web.StreamResponse:
        _, sandbox = self._sandbox(request)
        try:
            usage, network = sandbox.cgroup.usage(), network_bytes(sandbox.pid)
        except (CgroupGone, OSError) as error:
            raise ended() from error
        files = sandbox.workspace.statvfs()
        view = UsageView(
            **{name: getattr(usage, name) for name in UsageView.model_fields if hasattr(usage, name)},
            network_received_bytes=network.rx,
            network_sent_bytes=network.tx,
            workspace_used_bytes=(files.f_blocks - files.f_bfree) * files.f_frsize,
            workspace_size_bytes=files.f_blocks * files.f_frsize,
        )
        return answer(view)

    async def kill(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        await self._executor.kill(sandbox)
        return await _ordered(caller, sandbox, "kill")

    async def pause(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        expect(sandbox, State.RUNNING)
        await self._executor.pause(sandbox)
        return await _ordered(caller, sandbox, "pause")

    async def resume(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        expect(sandbox, State.PAUSED)
        await self._executor.resume(sandbox)
        return await _ordered(caller, sandbox, "resume")

    async def delete(self, request: web.Request) -> web.StreamResponse:
        caller, sandbox = self._sandbox(request)
        await self._executor.kill(sandbox)
        await result_of(sandbox)
        self._executor.registry.forget(sandbox)
        await _ordered(caller, sandbox, "delete")
        return web.Response(status=204)

    def _sandbox(self, request: web.Request) -> tuple[Caller, Sandbox]:
        caller = self._access.caller(request)
        return caller, self._access.sandbox(caller, request.match_info["id"])


def _position(sandbox: Sandbox) -> str:
    return f"{sandbox.created.isoformat()} {sandbox.id}"


async def _ordered(caller: Caller, sandbox: Sandbox, action: str) -> web.Response:
    """A full disk must not keep a sandbox alive: these are done first, and then recorded if they can be."""
    try:
        await record_access(caller, sandbox, action)
    except AuditError as error:
        log.exception("order not recorded", sandbox_id=sandbox.id, action=action, reason=str(error))
    return answer(SandboxView.of(sandbox))

"""Launching sandboxes, looking at them, ending them."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from daemon.api.access import Access, Caller
from daemon.api.problems import ApiError
from daemon.api.routes import BOOLEAN, Route, answer, flag, parse
from daemon.api.streaming import LINES, open_lines, output_line, send_line
from daemon.errors import PolicyError
from daemon.sandbox.cgroup import CgroupGone
from daemon.sandbox.environment import steers_loader
from daemon.sandbox.executor import Executor
from daemon.sandbox.options import EnvironmentName, Path, SandboxOptions, Strict, Text
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.resources import network_bytes
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox, State

REMEMBERED_KEYS = 10_000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class SandboxView(BaseModel):
    id: str
    session_id: str
    state: State
    profile: str
    image: str
    container_id: str
    owner_uid: int
    created: datetime
    labels: dict[str, str]
    risk_level: str
    report_id: str
    trace_id: str | None
    exit_code: int | None

    @classmethod
    def of(cls, sandbox: Sandbox) -> SandboxView:
        return cls(
            id=sandbox.id,
            session_id=sandbox.session_id,
            state=sandbox.state,
            profile=sandbox.options.profile,
            image=sandbox.options.image,
            container_id=sandbox.container_id,
            owner_uid=sandbox.owner.uid,
            created=sandbox.created,
            labels=sandbox.options.labels,
            risk_level=sandbox.report.risk_level,
            report_id=sandbox.report.id,
            trace_id=sandbox.trace_id,
            exit_code=sandbox.result.result().exit_code if sandbox.result.done() else None,
        )


class SandboxList(BaseModel):
    items: list[SandboxView]
    next: str | None = None


class UsageView(BaseModel):
    """At this moment; of an ended sandbox 404."""

    cpu_ns: int
    throttled_ns: int
    memory_bytes: int
    memory_peak_bytes: int
    pids: int
    pids_peak: int
    pids_refused: int
    oom_kills: int
    io_read_bytes: int
    io_write_bytes: int
    network_received_bytes: int
    network_sent_bytes: int
    workspace_used_bytes: int
    workspace_size_bytes: int


class ExecOptions(Strict):
    command: list[Text] = Field(min_length=1, max_length=4096)
    env: dict[EnvironmentName, Text] = Field(default={}, max_length=256)
    working_dir: Path = "/workspace"


class Sandboxes:
    def __init__(self, executor: Executor, access: Access) -> None:
        self._executor = executor
        self._access = access
        self._keys: OrderedDict[tuple[int, str], tuple[str, Sandbox]] = OrderedDict()

    def routes(self) -> list[Route]:
        one = "/v1/sandboxes/{id}"
        launch_errors = (400, 403, 409, 413, 415, 422, 429, 503)
        wait = {"wait": BOOLEAN}
        follow = {"follow": BOOLEAN}
        return [
            Route(
                "POST",
                "/v1/validate",
                self.validate,
                "Judge a request without launching it",
                SandboxOptions,
                SecurityReport,
                errors=launch_errors,
            ),
            Route(
                "POST",
                "/v1/sandboxes",
                self.launch,
                "Launch a sandbox",
                SandboxOptions,
                SandboxView,
                201,
                other_answer=ExecutionResult,
                other_content_type=LINES,
                query=wait,
                errors=launch_errors,
            ),
            Route("GET", "/v1/sandboxes", self.list, "Your sandboxes", answer=SandboxList),
            Route("GET", one, self.show, "One sandbox", answer=SandboxView),
            Route(
                "DELETE",
                one,
                self.delete,
                "Kill it if it runs and forget it, with its workspace",
                status=204,
                errors=(400, 403, 404, 409, 503),
            ),
            Route(
                "POST",
                one + "/kill",
                self.kill,
                "Kill it; its result stays",
                answer=SandboxView,
                errors=(400, 403, 404, 409, 503),
            ),
            Route(
                "POST",
                one + "/pause",
                self.pause,
                "Freeze it",
                answer=SandboxView,
                errors=(400, 403, 404, 409, 503),
            ),
            Route(
                "POST",
                one + "/resume",
                self.resume,
                "Let it go on",
                answer=SandboxView,
                errors=(400, 403, 404, 409, 503),
            ),
            Route("GET", one + "/result", self.result, "Wait for its end", answer=ExecutionResult),
            Route("GET", one + "/logs", self.logs, "What it wrote", content_type=LINES, query=follow),
            Route(
                "POST",
                one + "/exec",
                self.exec,
                "Run one more program in it",
                ExecOptions,
                content_type=LINES,
                errors=(*launch_errors, 404),
            ),
            Route(
                "GET",
                one + "/report",
                self.report,
                "What was judged before it started",
                answer=SecurityReport,
            ),
            Route("GET", one + "/usage", self.usage, "What it uses now", answer=UsageView),
        ]

    async def validate(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        options = await parse(request, SandboxOptions)
        self._access.check_profile(caller, options.profile)
        _, report = await self._executor.assess(options)
        return answer(report)

    async def launch(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        wait = flag(request, "wait")
        options = await parse(request, SandboxOptions)
        sandbox = await self._launch_once(request, caller, options)
        location = {"Location": f"/v1/sandboxes/{sandbox.id}"}
        if not wait:
            return answer(SandboxView.of(sandbox), 201, location)
        if LINES in request.headers.get("Accept", ""):
            return await self._stream(request, sandbox)
        return answer(await _result(sandbox), 201, location)

    async def _launch_once(self, request: web.Request, caller: Caller, options: SandboxOptions) -> Sandbox:
        """The same Idempotency-Key and body of the same caller give the same sandbox."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return await self._launch(request, caller, options)
        if _KEY.fullmatch(key) is None:
            raise ApiError(
                400, "invalid-key", "invalid key", "Idempotency-Key: 1 to 255 printable ASCII characters"
            )
        owned, body = (caller.actor.uid, key), hashlib.sha256(await request.read()).hexdigest()
        if (known := self._keys.get(owned)) is None:
            sandbox = await self._launch(request, caller, options)
            self._keys[owned] = (body, sandbox)
            if len(self._keys) > REMEMBERED_KEYS:
                self._keys.popitem(last=False)
            return sandbox
        if known[0] != body:
            raise ApiError(
                409, "key-reused", "key reused", "this Idempotency-Key came with another body: use a new key"
            )
        return known[1]

    async def _launch(self, request: web.Request, caller: Caller, options: SandboxOptions) -> Sandbox:
        self._access.check_profile(caller, options.profile)
        self._access.reserve(caller, options)
        try:
            return await self._executor.launch(options, caller.actor, _trace_id(request))
        finally:
            self._access.release(caller, options)

    async def _stream(self, request: web.Request, sandbox: Sandbox) -> web.StreamResponse:
        response = await open_lines(request)
        await send_line(response, {"sandbox": SandboxView.of(sandbox).model_dump(mode="json")})
        async for output in sandbox.output.read(follow=True):
            await send_line(response, output_line(output))
        await send_line(response, {"result": (await _result(sandbox)).model_dump(mode="json")})
        return response

    async def list(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        seen = [SandboxView.of(s) for s in self._executor.registry if caller.may_see(s.owner.uid)]
        return answer(SandboxList(items=seen))

    async def show(self, request: web.Request) -> web.StreamResponse:
        return answer(SandboxView.of(self._sandbox(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        await self._executor.kill(sandbox)
        await _result(sandbox)
        self._executor.registry.forget(sandbox)
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        await self._executor.kill(sandbox)
        return answer(SandboxView.of(sandbox))

    async def pause(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        _expect(sandbox, State.RUNNING)
        await self._executor.pause(sandbox)
        return answer(SandboxView.of(sandbox))

    async def resume(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        _expect(sandbox, State.PAUSED)
        await self._executor.resume(sandbox)
        return answer(SandboxView.of(sandbox))

    async def result(self, request: web.Request) -> web.StreamResponse:
        return answer(await _result(self._sandbox(request)))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        follow = flag(request, "follow")
        sandbox = self._sandbox(request)
        response = await open_lines(request)
        async for output in sandbox.output.read(follow=follow):
            await send_line(response, output_line(output))
        return response

    async def exec(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        options = await parse(request, ExecOptions)
        _expect(sandbox, State.RUNNING)
        if not self._executor.profiles.get(sandbox.options.profile).exec.value:
            raise PolicyError(
                f"profile {sandbox.options.profile!r} lets only the launched program run: no exec"
            )
        exec_id, stream = await self._executor.engine.exec(
            sandbox.container_id, _exec_config(sandbox, options)
        )
        try:
            response = await open_lines(request)
            async for output in stream.outputs():
                await send_line(response, output_line(output))
        finally:
            await stream.close()
        await send_line(response, {"exit_code": await self._executor.engine.exec_exit_code(exec_id)})
        return response

    async def report(self, request: web.Request) -> web.StreamResponse:
        return answer(self._sandbox(request).report)

    async def usage(self, request: web.Request) -> web.StreamResponse:
        sandbox = self._sandbox(request)
        try:
            usage, network = sandbox.cgroup.usage(), network_bytes(sandbox.pid)
        except (CgroupGone, OSError) as error:
            raise ApiError(
                404, "ended", "ended", "the sandbox has ended: its result says what it used"
            ) from error
        files = sandbox.workspace.statvfs()
        view = UsageView(
            **{name: getattr(usage, name) for name in UsageView.model_fields if hasattr(usage, name)},
            network_received_bytes=network.rx,
            network_sent_bytes=network.tx,
            workspace_used_bytes=(files.f_blocks - files.f_bfree) * files.f_frsize,
            workspace_size_bytes=files.f_blocks * files.f_frsize,
        )
        return answer(view)

    def _sandbox(self, request: web.Request) -> Sandbox:
        return self._access.sandbox(self._access.caller(request), request.match_info["id"])


async def _result(sandbox: Sandbox) -> ExecutionResult:
    """However many wait, and whoever of them leaves."""
    return await asyncio.shield(sandbox.result)


def _expect(sandbox: Sandbox, state: State) -> None:
    if sandbox.state is not state:
        raise ApiError(409, "wrong-state", "wrong state", f"the sandbox is {sandbox.state}, not {state}")


def _trace_id(request: web.Request) -> str | None:
    """Of W3C Trace Context's traceparent; a malformed one is ignored, as that standard says."""
    match = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return match[1] if match and match[1] != "0" * 32 else None


def _exec_config(sandbox: Sandbox, options: ExecOptions) -> dict[str, Any]:
    if steering := [name for name in options.env if steers_loader(name)]:
        raise PolicyError(f"env: {steering[0]} steers the loader or an interpreter: leave it out")
    return {
        "Cmd": options.command,
        "Env": [f"{name}={value}" for name, value in options.env.items()],
        "WorkingDir": options.working_dir,
        "User": f"{sandbox.options.user}:{sandbox.options.group}",
        "Privileged": False,
        "AttachStdout": True,
        "AttachStderr": True,
    }

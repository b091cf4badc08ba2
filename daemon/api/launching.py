"""Judging a request, and launching it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from daemon import tracing
from daemon.api import idempotency, trace_context
from daemon.api.access import Access, Caller
from daemon.api.idempotency import IdempotencyKeys
from daemon.api.presence import while_connected
from daemon.api.problem_types import (
    ATTESTATION_FAILED,
    AUDIT_UNAVAILABLE,
    CONFINEMENT_UNAVAILABLE,
    ENGINE_REFUSED,
    ENGINE_UNAVAILABLE,
    EXECUTION_BLOCKED,
    IMAGE_NOT_FOUND,
    INVALID_HEADER,
    KEY_REUSED,
    NOT_PERMITTED,
    OF_ANY_CALLER,
    OF_BODIES,
    PROFILE_NOT_PERMITTED,
    QUOTA_EXCEEDED,
    STOPPING,
)
from daemon.api.problems import status_of
from daemon.api.quotas import Quotas
from daemon.api.routes import BOOLEAN, Route, answer, flag, parse
from daemon.api.streaming import IN_LINES, LINES, lines, output_line, send_line
from daemon.api.views import SandboxView, result_of
from daemon.errors import AttestationError
from daemon.metrics import Metrics, Outcome
from daemon.sandbox.executor import ExecutionBlocked, Executor
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox

HEADERS: dict[str, dict[str, Any]] = {
    idempotency.HEADER: {
        "type": "string",
        "maxLength": 255,
        "description": "launches once, however often sent",
    },
    trace_context.HEADER: {
        "type": "string",
        "description": "W3C Trace Context; its trace id is in every audit event and span",
    },
}
ANSWERS = (
    "The answer comes once the program runs: with wait=true at its end, with the result. "
    f'With wait=true and "Accept: {LINES}" it is lines: {{"sandbox": {{...}}}}, what it writes as it comes, '
    f'{{"result": {{...}}}}. {IN_LINES}'
)
SPAN_NAME = "POST /v1/sandboxes"
SPAN_ATTRIBUTES = {"http.request.method": "POST", "http.route": "/v1/sandboxes", "network.transport": "unix"}
OF_ASSESSMENTS = (
    *OF_ANY_CALLER,
    *OF_BODIES,
    PROFILE_NOT_PERMITTED,
    NOT_PERMITTED,
    IMAGE_NOT_FOUND,
    ENGINE_REFUSED,
    ENGINE_UNAVAILABLE,
)
OF_LAUNCHES = (
    *OF_ASSESSMENTS,
    INVALID_HEADER,
    EXECUTION_BLOCKED,
    KEY_REUSED,
    ATTESTATION_FAILED,
    QUOTA_EXCEEDED,
    AUDIT_UNAVAILABLE,
    CONFINEMENT_UNAVAILABLE,
    STOPPING,
)


class Launching:
    def __init__(self, executor: Executor, access: Access, metrics: Metrics) -> None:
        self._executor = executor
        self._access = access
        self._metrics = metrics
        self._quotas = Quotas(executor.registry)
        self._keys = IdempotencyKeys(executor.registry)

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/validate",
                self.validate,
                "Judge a request without launching it",
                SandboxOptions,
                SecurityReport,
                errors=OF_ASSESSMENTS,
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
                query={"wait": BOOLEAN},
                headers=HEADERS,
                errors=OF_LAUNCHES,
                description=ANSWERS,
            ),
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
        sandbox = await self._keys.once(request, caller, lambda: self._launch(request, caller, options))
        location = {"Location": f"/v1/sandboxes/{sandbox.id}"}
        if not wait:
            return answer(SandboxView.of(sandbox), 201, location)
        async with while_connected(request):
            if LINES in request.headers.get("Accept", ""):
                return await _stream(request, sandbox, location)
            return answer(await result_of(sandbox), 201, location)

    async def _launch(self, request: web.Request, caller: Caller, options: SandboxOptions) -> Sandbox:
        try:
            sandbox = await self._traced(request, caller, options)
        except BaseException as error:
            self._metrics.launched(_outcome(error))
            if isinstance(error, ExecutionBlocked):
                self._metrics.blocked(error.report)
            raise
        self._metrics.launched(Outcome.STARTED)
        return sandbox

    async def _traced(self, request: web.Request, caller: Caller, options: SandboxOptions) -> Sandbox:
        parent = trace_context.parent(request)
        with tracing.served(parent, SPAN_NAME, SPAN_ATTRIBUTES, status_of) as span:
            span.set_attribute("user.id", str(caller.actor.uid))
            self._access.check_profile(caller, options.profile)
            with self._quotas.reserved(caller, options):
                sandbox = await self._executor.launch(options, caller.actor)
            span.set_attribute("http.response.status_code", 201)
            return sandbox


def _outcome(error: BaseException) -> Outcome:
    match error:
        case ExecutionBlocked():
            return Outcome.BLOCKED
        case AttestationError():
            return Outcome.UNATTESTED
        case Exception():
            return Outcome.REFUSED if status_of(error) < 500 else Outcome.FAILED
    return Outcome.ABANDONED


async def _stream(request: web.Request, sandbox: Sandbox, headers: dict[str, str]) -> web.StreamResponse:
    async with lines(request, 201, headers) as response:
        await send_line(response, {"sandbox": SandboxView.of(sandbox).model_dump(mode="json")})
        async for output in sandbox.output.read(follow=True):
            await send_line(response, output_line(output))
        await send_line(response, {"result": (await result_of(sandbox)).model_dump(mode="json")})
    return response

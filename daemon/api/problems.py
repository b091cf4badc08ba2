"""Errors as RFC 9457 problem+json: a stable `type`, what is wrong, and what to do."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from daemon.errors import (
    AttestationError,
    AuditError,
    EngineError,
    EngineUnavailable,
    ImageNotFound,
    PolicyError,
    QuotaExceeded,
)
from daemon.sandbox.executor import ExecutionBlocked
from daemon.sandbox.report import SecurityReport

CONTENT_TYPE = "application/problem+json"
log = structlog.get_logger()


class Problem(BaseModel):
    type: str = Field(description="`/problems/...`, stable")
    title: str
    status: int
    detail: str
    reasons: list[str] = []
    report: SecurityReport | None = None


class ApiError(Exception):
    """Raised by routes; becomes the response."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(type=f"/problems/{kind}", title=title, status=status, detail=detail, **more)
        self.headers = headers or {}

    def response(self) -> web.Response:
        body = self.problem.model_dump_json(exclude_none=True)
        return web.Response(
            text=body, status=self.problem.status, content_type=CONTENT_TYPE, headers=self.headers
        )


def not_found(what: str) -> ApiError:
    return ApiError(404, "not-found", "not found", f"{what} does not exist, or is not yours")


def _invalid(error: ValidationError) -> ApiError:
    reasons = [
        f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}"
        for e in error.errors(include_input=False)[:20]
    ]
    return ApiError(422, "invalid-request", "invalid request", reasons[0], reasons=reasons)


def of_exception(error: Exception) -> ApiError:  # noqa: PLR0911  # one line an error
    match error:
        case ApiError():
            return error
        case ValidationError():
            return _invalid(error)
        case ExecutionBlocked():
            reasons = error.report.reasons
            detail = f"{error}: {'; '.join(reasons)}"
            return ApiError(
                403, "execution-blocked", str(error), detail, reasons=reasons, report=error.report
            )
        case QuotaExceeded():
            wait = (
                {"Retry-After": str(int(error.retry_after_s) + 1)} if error.retry_after_s is not None else {}
            )
            return ApiError(429, "quota-exceeded", "quota exceeded", str(error), headers=wait)
        case PolicyError():
            return ApiError(403, "not-permitted", "not permitted", str(error))
        case ImageNotFound():
            return ApiError(422, "image-not-found", "image not found", str(error))
        case AttestationError():
            return ApiError(
                409, "attestation-failed", "attestation failed", str(error), reasons=error.differences
            )
        case EngineUnavailable():
            return ApiError(
                503, "engine-unavailable", "engine unavailable", str(error), headers={"Retry-After": "5"}
            )
        case EngineError():
            return ApiError(409, "engine-refused", "the engine refused", str(error))
        case AuditError():
            return ApiError(503, "audit-unavailable", "nothing can be recorded", str(error))
        case web.HTTPException():
            return ApiError(error.status, "http", error.reason.lower(), f"{error.reason}: see /openapi.json")
    log.error("internal error", exc_info=error)
    return ApiError(500, "internal", "internal error", "an error of the daemon; its log says more")


@web.middleware
async def problems(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Exception as error:  # the border of the API: every error leaves as a problem
        problem = of_exception(error)
        if isinstance(error, web.HTTPMethodNotAllowed):
            problem.headers["Allow"] = error.headers["Allow"]
        return problem.response()
    return response

"""Errors as RFC 9457 problem+json: a stable `type`, what is wrong, and what to do."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from daemon.api import problem_types as types
from daemon.api.problem_types import ProblemType
from daemon.errors import (
    AttestationError,
    AuditError,
    ConfinementError,
    DaemonStopping,
    EngineError,
    EngineUnavailable,
    ImageNotFound,
    PolicyError,
    QuotaExceeded,
    RequestError,
)
from daemon.sandbox.executor import ExecutionBlocked
from daemon.sandbox.report import SecurityReport

CONTENT_TYPE = "application/problem+json"
REASONS_LIMIT = 20
RETRY_S = 5
# What the HTTP server itself refuses, before a route is asked.
OF_SERVER = {404: types.NOT_FOUND, 405: types.METHOD_NOT_ALLOWED, 413: types.TOO_LARGE}

log = structlog.get_logger()


class Problem(BaseModel):
    type: str = Field(description="`/problems/...`, stable")
    title: str
    status: int
    detail: str
    reasons: list[str] = []
    report: SecurityReport | None = None


class ApiError(Exception):
    """Raised by routes; becomes the response. `more` are further fields of Problem, or another title."""

    def __init__(
        self, problem_type: ProblemType, detail: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        fields = {"title": problem_type.title, "status": problem_type.status, "detail": detail} | more
        self.problem = Problem(type=f"/problems/{problem_type.name}", **fields)
        self.headers = headers or {}

    def response(self) -> web.Response:
        body = self.problem.model_dump_json(exclude_none=True)
        return web.Response(
            text=body, status=self.problem.status, content_type=CONTENT_TYPE, headers=self.headers
        )


def not_found(what: str) -> ApiError:
    return ApiError(types.NOT_FOUND, f"{what} does not exist, or is not yours")


class NotYours(ApiError):
    """The same answer as for what does not exist: nobody learns what others have."""

    def __init__(self, what: str) -> None:
        super().__init__(types.NOT_FOUND, not_found(what).problem.detail)


def of_exception(error: Exception) -> ApiError:
    if (known := _of_known(error)) is not None:
        return known
    log.error("internal error", exc_info=error)
    return ApiError(types.INTERNAL, "an error of the daemon; its log says more")


def status_of(error: Exception) -> int:
    """Of the answer that it leaves as."""
    known = _of_known(error)
    return types.INTERNAL.status if known is None else known.problem.status


def _of_known(error: Exception) -> ApiError | None:  # noqa: PLR0911, PLR0912  # one line an error
    match error:
        case ApiError():
            return error
        case ValidationError():
            return _invalid(error)
        case ExecutionBlocked():
            return _blocked(error)
        case RequestError():
            return ApiError(types.INVALID_REQUEST, str(error), reasons=[str(error)])
        case QuotaExceeded():
            return ApiError(types.QUOTA_EXCEEDED, str(error), headers=_retry_after(error.retry_after_s))
        case PolicyError():
            return ApiError(types.NOT_PERMITTED, str(error))
        case DaemonStopping():
            return ApiError(types.STOPPING, str(error), headers=_retry_after(RETRY_S))
        case ImageNotFound():
            return ApiError(types.IMAGE_NOT_FOUND, str(error))
        case AttestationError():
            return ApiError(types.ATTESTATION_FAILED, str(error), reasons=error.differences)
        case EngineUnavailable():
            return ApiError(types.ENGINE_UNAVAILABLE, str(error), headers=_retry_after(RETRY_S))
        case EngineError():
            return ApiError(types.ENGINE_REFUSED, str(error))
        case ConfinementError():
            return ApiError(types.CONFINEMENT_UNAVAILABLE, str(error))
        case AuditError():
            return ApiError(types.AUDIT_UNAVAILABLE, str(error))
        case web.HTTPException():
            return _of_server(error)
    return None


def _invalid(error: ValidationError) -> ApiError:
    errors = error.errors(include_input=False)[:REASONS_LIMIT]
    reasons = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {_said(e['msg'])}" for e in errors]
    return ApiError(types.INVALID_REQUEST, reasons[0], reasons=reasons)


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _blocked(error: ExecutionBlocked) -> ApiError:
    reasons = error.report.reasons
    detail = f"{error}: {'; '.join(reasons)}"
    return ApiError(types.EXECUTION_BLOCKED, detail, title=str(error), reasons=reasons, report=error.report)


def _of_server(error: web.HTTPException) -> ApiError:
    headers = {"Allow": error.headers["Allow"]} if isinstance(error, web.HTTPMethodNotAllowed) else {}
    problem_type = OF_SERVER.get(error.status, types.BAD_REQUEST)
    return ApiError(problem_type, f"{error.reason.lower()}: /openapi.json has every route", headers=headers)


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(int(seconds) + 1)}


@web.middleware
async def problems(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Exception as error:  # the border of the API: every error leaves as a problem
        if request.transport is None:
            raise ConnectionResetError("the client has gone") from error  # nobody to tell, nothing to log
        if request.writer.output_size:  # it has begun to answer: what is sent must not look whole
            log.warning("an answer was broken off", path=request.path, reason=str(error))
            request.transport.close()
        return of_exception(error).response()
    return response

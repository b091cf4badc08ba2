"""What a route is: its handler and all that the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from daemon.api.problem_types import INVALID_QUERY, NOT_JSON, OF_ONE_SANDBOX, ProblemType
from daemon.api.problems import ApiError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=BaseModel)
MAX_BODY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    content_type: str = "application/json"
    query: dict[str, dict[str, Any]] = field(default_factory=dict)
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: tuple[ProblemType, ...] = OF_ONE_SANDBOX
    binary_body: bool = False
    other_answer: type[BaseModel] | None = None
    other_content_type: str | None = None
    description: str = ""


BOOLEAN: dict[str, Any] = {"type": "boolean", "default": False}


def flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in {"true", "false"}:
        raise ApiError(INVALID_QUERY, f"{name}: write true or false")
    return value == "true"


def number(request: web.Request, name: str, default: int, *, minimum: int = 0, maximum: int) -> int:
    text = request.query.get(name, str(default))
    plain = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
    if not plain or not minimum <= int(text) <= maximum:
        raise ApiError(INVALID_QUERY, f"{name}: write a number from {minimum} to {maximum}")
    return int(text)


async def parse(request: web.Request, model: type[Model]) -> Model:
    """The body as `model`; ValidationError and a body that is too large or no JSON become problems."""
    if request.content_type != "application/json":
        raise ApiError(NOT_JSON, "send the body as application/json")
    return model.model_validate_json(await request.read())


def answer(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = model.model_dump_json()
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)

"""What a route is: its handler and all that the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

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
    errors: tuple[int, ...] = (400, 403, 404)
    binary_body: bool = False
    other_answer: type[BaseModel] | None = None
    other_content_type: str | None = None


BOOLEAN: dict[str, Any] = {"type": "boolean", "default": False}


def flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in {"true", "false"}:
        raise ApiError(400, "invalid-query", "invalid query", f"{name}: write true or false")
    return value == "true"


def number(request: web.Request, name: str, default: int, *, maximum: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > maximum:
        raise ApiError(400, "invalid-query", "invalid query", f"{name}: write a number from 0 to {maximum}")
    return int(text)


async def parse(request: web.Request, model: type[Model]) -> Model:
    """The body as `model`; ValidationError and a body that is too large or no JSON become problems."""
    if request.content_type != "application/json":
        raise ApiError(415, "not-json", "not JSON", "send the body as application/json")
    return model.model_validate_json(await request.read())


def answer(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = model.model_dump_json()
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)

"""OpenAPI 3.1, made from the routes and the pydantic models that validate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from daemon import __version__
from daemon.api.problem_types import INVALID_QUERY, ProblemType
from daemon.api.problems import CONTENT_TYPE, Problem
from daemon.api.routes import Route

REF = "#/components/schemas/{model}"


def document(routes: list[Route]) -> dict[str, Any]:
    models: list[type[BaseModel]] = [Problem]
    models += [model for route in routes for model in (route.body, route.answer, route.other_answer) if model]
    inputs = {route.body for route in routes}
    pairs = [(model, "validation" if model in inputs else "serialization") for model in dict.fromkeys(models)]
    _, schemas = models_json_schema(pairs, ref_template=REF)  # type: ignore[arg-type]  # literals of the mode
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "container-kitd", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas.get("$defs", {})},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub('[^a-z]+', '_', route.path.strip('/'))}".rstrip("_"),
        "summary": route.summary,
        "responses": {str(route.status): _success(route), **_problems((*route.errors, INVALID_QUERY))},
    }
    if route.description:
        operation["description"] = route.description
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    if route.binary_body:
        operation["requestBody"] = {"content": {"application/octet-stream": {}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", route.path)
    in_path = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    in_query = [_parameter(name, "query", schema) for name, schema in route.query.items()]
    in_header = [_parameter(name, "header", schema) for name, schema in route.headers.items()]
    return in_path + in_query + in_header


def _parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": schema}


def _success(route: Route) -> dict[str, Any]:
    if route.answer is None and route.status in {101, 204}:
        return {"description": route.summary}
    refs = [_ref(model) for model in (route.answer, route.other_answer) if model]
    schema: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}} if refs else {}
    content: dict[str, Any] = {route.content_type: schema}
    if route.other_content_type:
        content[route.other_content_type] = {}
    return {"description": route.summary, "content": content}


def _problems(types: Iterable[ProblemType]) -> dict[str, Any]:
    """By status: an answer's schema names the types that it can have."""
    in_order = sorted(set(types), key=lambda one: (one.status, one.name))
    return {str(status): _problem(list(same)) for status, same in groupby(in_order, lambda one: one.status)}


def _problem(types: list[ProblemType]) -> dict[str, Any]:
    names = {"type": "object", "properties": {"type": {"enum": [f"/problems/{one.name}" for one in types]}}}
    return {
        "description": "; ".join(one.title for one in types),
        "content": {CONTENT_TYPE: {"schema": {"allOf": [_ref(Problem), names]}}},
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}

"""docs/api.md, made from the OpenAPI document: `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from daemon.api import problem_types
from daemon.api.openapi import document
from daemon.api.problem_types import CALLER_UNKNOWN, CONNECTION_LOST, INVALID_QUERY
from daemon.api.server import every_route
from daemon.api.system import System

Json = dict[str, Any]
METHODS = ("get", "post", "put", "delete")
OF_EVERY_ROUTE = {f"/problems/{one.name}" for one in (CONNECTION_LOST, CALLER_UNKNOWN, INVALID_QUERY)}
INTRODUCTION = """\
# API

HTTP over the Unix socket `/run/container-kit/api.sock`. Made from the OpenAPI document by `make docs`; the
daemon serves that document at `/openapi.json`. In the examples `$S` is the socket and `$ID` a sandbox's id.

- Who you are is your process's user, as the kernel knows it; what you may do is in `callers` of the settings.
- Lists answer `{"items": [...], "next": cursor}`: give `next` as `after` for the next page; null is the last.
- An unknown parameter or field is an error, never ignored.
- Every error is `application/problem+json` (RFC 9457), a [Problem](#problem); its `type` is stable and one of
  [these](#problems). `connection-lost`, `caller-unknown` and `invalid-query` can come from every route.
"""
CURL = "curl -s --unix-socket $S"
EXAMPLES = {
    ("post", "/v1/validate"): [
        f"""{CURL} http://d/v1/validate --json '{{"image": "busybox", "command": ["sh"], "user": 0}}'"""
    ],
    ("post", "/v1/images/check"): [f"""{CURL} http://d/v1/images/check --json '{{"image": "busybox"}}'"""],
    ("post", "/v1/images/sign-check"): [
        f"""{CURL} http://d/v1/images/sign-check --json '{{"image": "busybox"}}'"""
    ],
    ("post", "/v1/sandboxes"): [
        f"{CURL} 'http://d/v1/sandboxes?wait=true' -H 'Idempotency-Key: 8c1f' --json '",
        """    {"image": "busybox", "command": ["cat", "in.txt"], "files": {"in.txt": "hello"}}'""",
    ],
    ("get", "/v1/sandboxes"): [f"{CURL} 'http://d/v1/sandboxes?limit=10'"],
    ("get", "/v1/sandboxes/{id}/logs"): [f'{CURL} -N "http://d/v1/sandboxes/$ID/logs?follow=true"'],
    ("post", "/v1/sandboxes/{id}/exec"): [
        f"""{CURL} -N http://d/v1/sandboxes/$ID/exec --json '{{"command": ["id"]}}'"""
    ],
    ("put", "/v1/sandboxes/{id}/files/{path}"): [
        f"{CURL} -T in.txt http://d/v1/sandboxes/$ID/files/in.txt",
        f'tar -c -C tree . | {CURL} -T - "http://d/v1/sandboxes/$ID/files/tree?tar=true"',
    ],
    ("get", "/v1/sandboxes/{id}/files/{path}"): [
        f"{CURL} http://d/v1/sandboxes/$ID/files/in.txt",
        f'{CURL} "http://d/v1/sandboxes/$ID/files/tree?tar=true" | tar -t',
    ],
    ("get", "/v1/events"): [f"{CURL} -N 'http://d/v1/events?severity=high' -H 'Last-Event-ID: 1'"],
    ("get", "/v1/findings"): [f"{CURL} 'http://d/v1/findings?category=process&since=2026-01-31T12:00:00Z'"],
}


def render(openapi: Json) -> str:
    paths, schemas = openapi["paths"], openapi["components"]["schemas"]
    parts = [INTRODUCTION, "## Routes\n"]
    for path, operations in paths.items():
        parts += [_route(path, method, operations[method]) for method in METHODS if method in operations]
    parts += ["## Problems\n", _problems(), "## Types\n"]
    asked = _reached(schemas, [*_bodies(paths)])
    named = {name: schema for name, schema in sorted(schemas.items()) if not _is_generic(name)}
    parts += [_type(name, schema, schemas, defaults=name in asked) for name, schema in named.items()]
    return "\n".join(parts)


def _route(path: str, method: str, operation: Json) -> str:
    lines = [f"### {method.upper()} {path}", "", operation["summary"] + ".", ""]
    if description := operation.get("description"):
        lines += [description, ""]
    lines += _parameters(operation.get("parameters", []))
    if body := operation.get("requestBody"):
        lines += [f"Body: {_contents(body['content'])}", ""]
    for status, one in operation["responses"].items():
        if int(status) < 400:
            lines += [f"Answer: {status} {_contents(one.get('content', {}))}".rstrip(), ""]
    if problems := [*_problems_of(operation)]:
        lines += [f"Problems: {', '.join(problems)}", ""]
    if example := EXAMPLES.get((method, path)):
        lines += [*(f"    {line}" for line in example), ""]
    return "\n".join(lines)


def _parameters(parameters: list[Json]) -> list[str]:
    given = [p for p in parameters if p["in"] != "path"]
    if not given:
        return []
    rows = [f"| `{p['name']}` | {p['in']} | {_cell(p['schema'], {})} |" for p in given]
    return ["| parameter | in | |", "|---|---|---|", *rows, ""]


def _problems_of(operation: Json) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        if problem := answer.get("content", {}).get("application/problem+json"):
            types = problem["schema"]["allOf"][1]["properties"]["type"]["enum"]
            yield from (
                f"{status} {one.removeprefix('/problems/')}" for one in types if one not in OF_EVERY_ROUTE
            )


def _contents(content: dict[str, Json]) -> str:
    """Each content type, with the type of its JSON where it has one."""
    named = {kind: _name(one.get("schema", {}), {}) for kind, one in content.items()}
    return ", or ".join(f"`{kind}` {name}".strip() for kind, name in named.items())


def _problems() -> str:
    rows = [
        f"| `/problems/{one.name}` | {one.status} | {one.title} | {one.remedy} |" for one in problem_types.ALL
    ]
    return "\n".join(["| type | status | title | what to do |", "|---|---|---|---|", *rows, ""])


def _type(name: str, schema: Json, schemas: Json, *, defaults: bool) -> str:
    """With its defaults where it is sent; in an answer every field is there."""
    lines = [f"### {name}", ""]
    if description := schema.get("description"):
        lines += [" ".join(description.split()), ""]
    if "enum" in schema:
        return "\n".join([*lines, _choices(schema), ""])
    lines += ["| field | | default |", "|---|---|---|"] if defaults else ["| field | |", "|---|---|"]
    for field, one in schema.get("properties", {}).items():
        row = f"| `{field}` | {_cell(one, schemas)} |"
        lines.append(f"{row} {_default(field, one, schema)} |" if defaults else row)
    return "\n".join([*lines, ""])


def _default(field: str, one: Json, schema: Json) -> str:
    if field in schema.get("required", []):
        return "required"
    default = one.get("default")
    if isinstance(default, dict) and default:
        return "its defaults"
    return _code(default) if default is not None else ""


def _cell(schema: Json, schemas: Json) -> str:
    """A table's cell: the kind of value, its bounds, what is said of it."""
    kind = ", ".join(part for part in (_name(schema, schemas), *_bounds(schema)) if part)
    text = "; ".join(part for part in (kind, schema.get("description")) if part)
    return text.replace("|", "\\|").replace("\n", " ")


def _name(schema: Json, schemas: Json) -> str:
    if "$ref" in schema:
        return _reference(schema["$ref"].rpartition("/")[2], schemas)
    if "enum" in schema:
        return _choices(schema)
    if alternatives := schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_name(one, schemas) for one in alternatives))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_name(schema.get('items', {}), schemas)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_name(schema['additionalProperties'], schemas)}"
    return str(schema.get("format") or kind or "")


def _reference(name: str, schemas: Json) -> str:
    """A generic type has no name that helps: its fields are shown instead."""
    if not _is_generic(name):
        return f"[{name}](#{name.lower()})"
    fields = schemas[name]["properties"].items()
    return "{" + ", ".join(f"{field}: {_name(one, schemas)}" for field, one in fields) + "}"


def _is_generic(name: str) -> bool:
    return "_" in name


def _choices(schema: Json) -> str:
    return ", ".join(_code(value) for value in schema["enum"])


def _bounds(schema: Json) -> Iterator[str]:
    for one in [schema, *schema.get("anyOf", [])]:
        low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum")
        longest = one.get("maxLength", one.get("maxItems"))
        if low is not None and high is not None:
            yield f"{low} to {high}"
        elif low is not None:
            yield f"at least {low}"
        elif longest is not None:
            yield f"at most {longest} {'characters' if 'maxLength' in one else 'items'}"


def _code(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _bodies(paths: Json) -> Iterator[str]:
    for operations in paths.values():
        for operation in operations.values():
            for one in operation.get("requestBody", {}).get("content", {}).values():
                if reference := one.get("schema", {}).get("$ref"):
                    yield reference.rpartition("/")[2]


def _reached(schemas: Json, names: list[str]) -> set[str]:
    """These types and all that they are made of."""
    reached: set[str] = set()
    while names:
        name = names.pop()
        if name not in reached:
            reached.add(name)
            names += [other for other in schemas if f'/{other}"' in json.dumps(schemas[name])]
    return reached


def main() -> None:
    nobody: Any = SimpleNamespace(registry=None)  # of the subjects only their routes are read
    system = System(nobody, nobody, nobody, nobody)
    routes = every_route(nobody, nobody, nobody, nobody, nobody, nobody, system, nobody, nobody)
    sys.stdout.write(render(document(routes)))


if __name__ == "__main__":
    main()

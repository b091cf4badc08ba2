"""Health, metrics, profiles and the document itself."""

from __future__ import annotations

import json

from aiohttp import web
from pydantic import BaseModel

from daemon import __version__
from daemon.api.access import Access
from daemon.api.openapi import document
from daemon.api.problem_types import ENGINE_REFUSED, ENGINE_UNAVAILABLE, OF_ANY_CALLER
from daemon.api.problems import ApiError
from daemon.api.routes import Route, answer
from daemon.doctor import Diagnosis, diagnose
from daemon.errors import EngineError
from daemon.metrics import Metrics
from daemon.sandbox.executor import Executor
from daemon.sandbox.profile import Profile


class Health(BaseModel):
    status: str
    version: str
    sandboxes_running: int


class Readiness(BaseModel):
    ready: bool
    detail: str


class ProfileList(BaseModel):
    items: list[Profile]
    next: str | None = None


class System:
    def __init__(self, executor: Executor, access: Access, metrics: Metrics) -> None:
        self._executor = executor
        self._access = access
        self._metrics = metrics
        self._document = "{}"

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/profiles",
                self.profiles,
                "Every profile, with its reasons",
                answer=ProfileList,
                errors=OF_ANY_CALLER,
            ),
            Route(
                "GET",
                "/v1/doctor",
                self.doctor,
                "What this host can enforce",
                answer=Diagnosis,
                errors=(*OF_ANY_CALLER, ENGINE_REFUSED, ENGINE_UNAVAILABLE),
            ),
            Route("GET", "/healthz", self.health, "Whether the daemon lives", answer=Health, errors=()),
            Route(
                "GET",
                "/readyz",
                self.ready,
                "Whether a launch can succeed",
                answer=Readiness,
                errors=(ENGINE_UNAVAILABLE,),
            ),
            Route("GET", "/metrics", self.metrics, "Prometheus text", content_type="text/plain", errors=()),
            Route("GET", "/openapi.json", self.openapi, "This document", errors=()),
        ]

    def describe(self, routes: list[Route]) -> None:
        self._document = json.dumps(document(routes))

    async def profiles(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        return answer(ProfileList(items=list(self._executor.profiles)))

    async def doctor(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request)
        engine, host = await self._executor.host.engine_facts(), self._executor.host.facts()
        return answer(diagnose(engine, host, self._executor.profiles.get("strict").apparmor.value))

    async def health(self, _: web.Request) -> web.StreamResponse:
        running = len(self._executor.registry.running())
        return answer(Health(status="ok", version=__version__, sandboxes_running=running))

    async def ready(self, _: web.Request) -> web.StreamResponse:
        try:
            await self._executor.engine.ping()
        except EngineError as error:
            raise ApiError(ENGINE_UNAVAILABLE, str(error)) from error
        return answer(Readiness(ready=True, detail="the engine answers"))

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=self._metrics.text(), content_type="text/plain")

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=self._document, content_type="application/json")

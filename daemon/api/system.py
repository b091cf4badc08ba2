"""Health, metrics, profiles and the document itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from daemon import __version__
from daemon.api.access import Access
from daemon.api.openapi import document
from daemon.api.problem_types import ENGINE_UNAVAILABLE, OF_ANY_CALLER
from daemon.api.problems import ApiError
from daemon.api.routes import Route, answer
from daemon.doctor import Diagnosis, diagnose
from daemon.errors import EngineError
from daemon.events import Tier
from daemon.guard import Guard
from daemon.metrics import Metrics
from daemon.sandbox.executor import Executor
from daemon.sandbox.facts import EngineFacts
from daemon.sandbox.profile import Profile


class SensorView(BaseModel):
    name: str
    tier: Tier
    running: bool
    problem: str
    restarts: int


class Health(BaseModel):
    """`degraded`: no sensor sees processes, or one that should run does not."""

    status: Literal["ok", "degraded"]
    version: str
    sandboxes_running: int
    spares: int = Field(description="sandboxes made ahead that wait for a launch")
    sensor_tier: Tier | None = Field(description="the best sensor of processes that runs")
    sensors: list[SensorView]
    events_seen: int
    events_lost: dict[str, int] = Field(description="by sensor and reason; those at 0 left out")
    detectors: int
    detectors_failed: dict[str, int]


class Readiness(BaseModel):
    ready: bool
    detail: str


class ProfileList(BaseModel):
    items: list[Profile]
    next: str | None = None


class System:
    def __init__(self, executor: Executor, access: Access, metrics: Metrics, guard: Guard) -> None:
        self._executor = executor
        self._access = access
        self._metrics = metrics
        self._guard = guard
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
                errors=OF_ANY_CALLER,
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
        engine, host = await self._engine_facts(), self._executor.host.facts()
        apparmor = {profile.apparmor.value for profile in self._executor.profiles}
        tier, log, gate = self._guard.sensing.tier, self._executor.audit.path, self._executor.gate
        scanner = await gate.examination.status()
        return answer(diagnose(engine, host, apparmor, tier, log, scanner, gate.max_database_age_s))

    async def _engine_facts(self) -> EngineFacts | str:
        """Or why there are none. Facts may be seconds old, so it is asked whether it still answers."""
        try:
            await self._executor.engine.ping()
            return await self._executor.host.engine_facts()
        except EngineError as error:
            return str(error)

    async def health(self, _: web.Request) -> web.StreamResponse:
        sensing, pipeline = self._guard.sensing, self._guard.pipeline
        sensors = [SensorView(name=name, **asdict(health)) for name, health in sensing.health.items()]
        degraded = sensing.tier is None or any(s.restarts and not s.running for s in sensors)
        health = Health(
            status="degraded" if degraded else "ok",
            version=__version__,
            sandboxes_running=len(self._executor.registry.running()),
            spares=self._executor.pool.count,
            sensor_tier=sensing.tier,
            sensors=sensors,
            events_seen=pipeline.events_seen,
            events_lost={reason: count for reason, count in sensing.lost.items() if count},
            detectors=len(pipeline.detectors),
            detectors_failed=dict(pipeline.failures),
        )
        return answer(health)

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

"""The API as one aiohttp application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.alerts.alerts import Alerts as Rules
from daemon.api.access import Access
from daemon.api.alerts import Alerts
from daemon.api.attach import Attach
from daemon.api.denials import Denials
from daemon.api.events import Events
from daemon.api.exec import Exec
from daemon.api.exporters import Exporters
from daemon.api.files import Files
from daemon.api.findings import Findings
from daemon.api.forensics import Forensics
from daemon.api.images import Images
from daemon.api.launching import Launching
from daemon.api.problem_types import INVALID_QUERY
from daemon.api.problems import ApiError, problems
from daemon.api.routes import MAX_BODY_BYTES, Handler, Route
from daemon.api.sandboxes import Sandboxes
from daemon.api.system import System
from daemon.audit.log import AuditLog
from daemon.delivery.delivery import Delivery
from daemon.forensics.store import EvidenceStore
from daemon.guard import Guard
from daemon.ledger import Ledger
from daemon.metrics import Metrics
from daemon.sandbox.executor import Executor


class Subject(Protocol):
    def routes(self) -> list[Route]: ...


def application(
    executor: Executor,
    access: Access,
    audit: AuditLog,
    ledger: Ledger,
    metrics: Metrics,
    guard: Guard,
    deliveries: Sequence[Delivery],
    alerts: Rules,
) -> web.Application:
    system = System(executor, access, metrics, guard)
    store = guard.forensics.store
    routes = every_route(executor, access, audit, ledger, metrics, store, system, deliveries, alerts)
    system.describe(routes)
    middlewares = [_counted(metrics), problems, Denials(audit).middleware]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    for route in routes:
        app.router.add_route(route.method, _aiohttp_path(route), _strict(route))
    return app


def every_route(
    executor: Executor,
    access: Access,
    audit: AuditLog,
    ledger: Ledger,
    metrics: Metrics,
    store: EvidenceStore,
    system: System,
    deliveries: Sequence[Delivery],
    alerts: Rules,
) -> list[Route]:
    """In the order of the reference."""
    subjects: tuple[Subject, ...] = (
        Launching(executor, access, metrics),
        Images(executor, access),
        Sandboxes(executor, access),
        Exec(executor, access),
        Attach(executor, access),
        Files(access),
        Events(audit, access),
        Findings(ledger, access),
        Forensics(store, access),
        Exporters(deliveries, access),
        Alerts(alerts, access),
        system,
    )
    return [route for subject in subjects for route in subject.routes()]


def _strict(route: Route) -> Handler:
    """A misspelt parameter would be an option that nobody honours."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if unknown := sorted(request.query.keys() - route.query.keys()):
            known = ", ".join(route.query) or "none"
            raise ApiError(INVALID_QUERY, f"{unknown[0][:64]!r} is no parameter of this route: {known}")
        return await route.handler(request)

    return handle


def _counted(metrics: Metrics) -> Middleware:
    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        with metrics.request():
            return await handler(request)

    return counted


def _aiohttp_path(route: Route) -> str:
    return route.path.replace("{path}", "{path:.+}")

"""The API as one aiohttp application."""

from __future__ import annotations

from aiohttp import web

from daemon.api.access import Access
from daemon.api.attach import Attach
from daemon.api.events import Events
from daemon.api.files import Files
from daemon.api.findings import Findings
from daemon.api.problems import problems
from daemon.api.routes import MAX_BODY_BYTES, Route
from daemon.api.sandboxes import Sandboxes
from daemon.api.system import System
from daemon.audit.log import AuditLog
from daemon.guard import Guard
from daemon.ledger import Ledger
from daemon.metrics import Metrics
from daemon.sandbox.executor import Executor


def application(
    executor: Executor, access: Access, audit: AuditLog, ledger: Ledger, metrics: Metrics, guard: Guard
) -> web.Application:
    system = System(executor, access, metrics, guard)
    subjects = (
        Sandboxes(executor, access),
        Files(access),
        Attach(executor, access),
        Events(audit, access),
        Findings(ledger, access),
        system,
    )
    routes = [route for subject in subjects for route in subject.routes()]
    system.describe(routes)
    app = web.Application(middlewares=[problems], client_max_size=MAX_BODY_BYTES)
    for route in routes:
        app.router.add_route(route.method, _aiohttp_path(route), route.handler)
    return app


def _aiohttp_path(route: Route) -> str:
    return route.path.replace("{path}", "{path:.+}")

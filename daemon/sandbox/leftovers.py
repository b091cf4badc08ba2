"""Containers whose removal failed, as the engine did not answer: looked for until they are gone."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import structlog

from daemon.audit.record import EventType
from daemon.audit.trail import Trail
from daemon.errors import AuditError, EngineError
from daemon.findings import Severity
from daemon.sandbox.engine import LABEL, SESSION_LABEL
from daemon.sandbox.executor import Executor, instance
from daemon.sandbox.sandbox import Registry, State
from daemon.ticks import until_tick_s

INTERVAL_S, CALM_INTERVAL_S = 10.0, 300.0
"""The first after a removal that failed: whatever else is left behind is no launch's any more in minutes."""
LAUNCH_LIMIT_S = 180.0
"""Longer than a launch can take: a younger container may be on its way to become a sandbox."""

log = structlog.get_logger()


async def remove_leftovers(executor: Executor) -> None:
    """Until cancelled. Nothing is left running that nobody watches, however long the engine was away."""
    failed = executor.engine.removal_failed
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(until_tick_s(CALM_INTERVAL_S, time.monotonic())):
                await failed.wait()
                await asyncio.sleep(INTERVAL_S)
        failed.clear()
        try:
            await _remove(executor)
        except (EngineError, AuditError) as error:
            failed.set()
            log.debug("leftovers not removed yet", reason=str(error))


async def _remove(executor: Executor) -> None:
    for container in await executor.engine.managed(instance(executor.audit.path)):
        sandbox_id = container["Labels"][LABEL]
        if executor.pool.holds(sandbox_id) or not is_leftover(container, executor.registry, time.time()):
            continue
        await end_unwatched(executor, container, "left behind while the engine did not answer")


async def end_unwatched(executor: Executor, container: dict[str, Any], reason: str) -> None:
    """`container` is an item of the engine's list. Raises EngineError, AuditError."""
    sandbox_id = container["Labels"][LABEL]
    await executor.engine.remove(container["Id"])
    executor.records.remove(sandbox_id)
    session_id = container["Labels"].get(SESSION_LABEL, "")
    trail = Trail(executor.audit, sandbox_id, session_id, image_digest=container.get("ImageID"))
    details = {"reason": reason, "container_id": container["Id"]}
    await trail.record(EventType.EXECUTION_FAILED, Severity.MEDIUM, "killed", details)


def is_leftover(container: dict[str, Any], registry: Registry, now_s: float) -> bool:
    """`container` is an item of the engine's list, its `Created` in seconds since 1970."""
    sandbox = registry.get(container["Labels"][LABEL])
    if sandbox is None:
        return now_s - float(container["Created"]) > LAUNCH_LIMIT_S
    return sandbox.state is State.ENDED

"""Containers that a call left behind, as the engine did not answer: looked for until they are gone."""

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
from daemon.sandbox.pool import SPARE_LABEL
from daemon.sandbox.sandbox import Registry, State
from daemon.ticks import until_tick_s

INTERVAL_S, CALM_INTERVAL_S = 10.0, 300.0
"""The first while a call that failed may have left one, which is known after LAUNCH_LIMIT_S."""
LAUNCH_LIMIT_S = 180.0
"""Longer than a launch can take: a younger container may be on its way to become a sandbox."""

log = structlog.get_logger()


async def remove_leftovers(executor: Executor) -> None:
    """Until cancelled. Nothing is left running that nobody watches, however long the engine was away."""
    one_is_left = executor.engine.may_have_left
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(until_tick_s(CALM_INTERVAL_S, time.monotonic())):
                await one_is_left.wait()
                await asyncio.sleep(INTERVAL_S)
        one_is_left.clear()
        try:
            if await _remove(executor):
                one_is_left.set()
        except (EngineError, AuditError) as error:
            one_is_left.set()
            log.debug("leftovers not removed yet", reason=str(error))


async def _remove(executor: Executor) -> bool:
    """Whether there is one that may yet turn out to be left: nobody has it, and it is young."""
    unclear = False
    for container in await executor.engine.managed(instance(executor.audit.path)):
        sandbox_id = container["Labels"][LABEL]
        if executor.pool.holds(sandbox_id):
            continue
        if is_leftover(container, executor.registry, time.time()):
            await end_unwatched(executor, container, "left behind while the engine did not answer")
        else:
            unclear |= executor.registry.get(sandbox_id) is None
    return unclear


async def remove_last(executor: Executor) -> None:
    """As the daemon ends: whatever it made and could not remove before. Raises EngineError, AuditError."""
    for container in await executor.engine.managed(instance(executor.audit.path)):
        await end_unwatched(executor, container, "left behind, and removed as the daemon ended")


async def end_unwatched(executor: Executor, container: dict[str, Any], reason: str) -> None:
    """`container` is an item of the engine's list; a spare is no launch that failed.

    Raises EngineError, AuditError.
    """
    sandbox_id = container["Labels"][LABEL]
    launched = SPARE_LABEL not in container["Labels"] or executor.records.load(sandbox_id) is not None
    await executor.engine.remove(container["Id"])
    executor.records.remove(sandbox_id)
    if not launched:
        return
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

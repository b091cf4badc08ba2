"""What a daemon that was killed has left: taken over if it is what it was, else ended."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import structlog

from daemon import tracing
from daemon.audit.record import EventType
from daemon.audit.trail import Trail
from daemon.errors import AttestationError, ConfinementError, EngineError, PolicyError
from daemon.findings import Severity
from daemon.sandbox.adoption import AdoptionRecord
from daemon.sandbox.cgroup import CgroupGone
from daemon.sandbox.engine import LABEL
from daemon.sandbox.executor import Executor, instance, of_judged
from daemon.sandbox.leftovers import end_unwatched
from daemon.sandbox.preparation import Request, take_over

NOT_TAKEN_OVER = (PolicyError, EngineError, AttestationError, ConfinementError, CgroupGone, OSError)

log = structlog.get_logger()


async def recover(executor: Executor) -> None:
    """Raises EngineError, AuditError."""
    unwatched_since = executor.audit.last_written
    for container in await executor.engine.managed(instance(executor.audit.path)):
        sandbox_id = container["Labels"][LABEL]
        if executor.registry.get(sandbox_id) is not None:
            continue
        record = executor.records.load(sandbox_id)
        if record is None or not await _adopt(executor, record, container, unwatched_since):
            await end_unwatched(executor, container, "left by an earlier daemon, unwatched since")
    executor.records.keep_only({sandbox.id for sandbox in executor.registry})


async def _adopt(
    executor: Executor, record: AdoptionRecord, container: dict[str, Any], unwatched_since: datetime
) -> bool:
    if container["State"] not in {"running", "paused"} or executor.tasks is None:
        return False
    trail = of_judged(
        Trail(executor.audit, record.sandbox_id, record.session_id, record.owner, record.trace_id),
        record.report,
    )
    try:
        subject = await executor.subject(record.options, await executor.host.image(record.options.image))
        request = Request(subject, record.report, record.owner, trail, {}, {})
        async with AsyncExitStack() as cleanup:
            sandbox = await take_over(executor.engine, executor.watcher, request, container["Id"], cleanup)
            cleanup.pop_all()
    except NOT_TAKEN_OVER as error:
        log.warning("sandbox not adopted", sandbox_id=record.sandbox_id, reason=str(error))
        return False
    sandbox.started_s -= record.age_s
    details = {"container_id": container["Id"], "unwatched_since": unwatched_since.isoformat()}
    with tracing.continued(tracing.context(record.trace_id, record.span_id)):
        await trail.record(EventType.SANDBOX_ADOPTED, Severity.MEDIUM, "adopted", details)
        executor.registry.add(sandbox)
        executor.tasks.create_task(executor.supervise(sandbox), name=f"sandbox {sandbox.id}")
    return True

"""Collects evidence after grave findings, one container after the other, and never before the response."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections import OrderedDict
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import structlog

from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import AuditError, EngineError
from daemon.events import Event
from daemon.findings import Severity
from daemon.forensics.evidence import EvidenceSummary
from daemon.forensics.store import EvidenceStore, new_id
from daemon.forensics.task import Task, Told
from daemon.images.child import Unscannable, run_module
from daemon.images.confinement import Limits
from daemon.ledger import FindingRecord, Ledger
from daemon.pipeline import Pipeline
from daemon.sandbox.engine import Engine
from daemon.sandbox.sandbox import Registry, Sandbox

FLOOR = Severity.HIGH
QUEUED = 64
AGAIN_AFTER_S = 60.0
"""Of one container: sooner only for a worse finding."""
REMEMBERED = 2048
READING_DEADLINE_S = 5.0
ANSWER_BYTES = 1 << 20
FINDINGS = 20
PROCESSES = 256
AMONG = 4096
KILLED = "kill"
"""As a finding's `action` has it: nothing runs any more."""
WORKER = Limits(wall_s=20.0, output_bytes=1 << 20)

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Case:
    """One container to be looked at. `events` are those that led to the finding, taken at that moment."""

    record: FindingRecord
    events: tuple[Event, ...]
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """All that goes with the container has been read."""


class Forensics:
    """`open` a case as a finding is made, `begin` it once the response is done; `run` collects."""

    def __init__(
        self,
        store: EvidenceStore,
        engine: Engine,
        registry: Registry,
        pipeline: Pipeline,
        ledger: Ledger,
        audit: AuditLog,
    ) -> None:
        self.store = store
        self.dropped = 0
        self._engine = engine
        self._registry = registry
        self._pipeline = pipeline
        self._ledger = ledger
        self._audit = audit
        self._queue: asyncio.Queue[Case] = asyncio.Queue()
        self._open: dict[str, Case] = {}
        self._collected: OrderedDict[str, tuple[float, Severity]] = OrderedDict()

    def open(self, record: FindingRecord) -> Case | None:
        """None where there is nothing to collect, or it was just done. Whoever gets a case begins it."""
        container = record.container_id
        if not (self.store.enabled and container and record.severity.at_least(FLOOR)):
            return None
        if container in self._open or not self._due(container, record.severity):
            return None
        if len(self._open) >= QUEUED:
            self.dropped += 1
            log.warning("forensics not collected: too many are waiting", container=container[:12])
            return None
        case = self._open[container] = Case(record, self._pipeline.recent.of(container))
        return case

    def begin(self, case: Case) -> None:
        self._queue.put_nowait(case)

    async def settled(self, container_id: str) -> None:
        """Before it is removed: what has to be read of it has been, or it has taken too long."""
        if (case := self._open.get(container_id)) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * READING_DEADLINE_S):
                    await case.read.wait()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.to_thread(self.store.clean)
        while True:
            case = await self._queue.get()
            try:
                await self._collect(case)
            except Exception:  # the border of one case: its trouble is not another's
                log.exception("forensics not kept", container=case.record.container_id[:12])
            finally:
                case.read.set()
                del self._open[case.record.container_id]

    def _due(self, container: str, severity: Severity) -> bool:
        now_s = time.monotonic()
        before_s, worst = self._collected.get(container, (-AGAIN_AFTER_S, Severity.LOW))
        if now_s - before_s < AGAIN_AFTER_S and severity.rank <= worst.rank:
            return False
        self._collected[container] = (now_s, max(severity, worst, key=lambda one: one.rank))
        if len(self._collected) > REMEMBERED:
            self._collected.popitem(last=False)
        return True

    async def _collect(self, case: Case) -> None:
        problems: list[str] = []
        changed = await self._changes(case.record.container_id, problems)
        case.read.set()
        sandbox = self._registry.get(case.record.sandbox_id) if case.record.sandbox_id else None
        summary = _summary(case.record)
        with ExitStack() as lent:
            workspace = _lent(sandbox, lent, problems)
            task = Task(
                store=self.store,
                summary=summary,
                findings=self._findings(case.record.container_id),
                alive=case.record.action != KILLED,
                known=list(islice(self._pipeline.processes.of(case.record.container_id, AMONG), PROCESSES)),
                events=case.events,
                changes=changed,
                workspace=workspace,
                problems=problems,
            )
            told = await _told(task)
        with suppress(AuditError):  # the log said so itself, and the file is there
            await self._audit.record(_event(summary, told))

    async def _changes(self, container: str, problems: list[str]) -> bytes:
        try:
            async with asyncio.timeout(READING_DEADLINE_S):
                return await self._engine.changes(container, ANSWER_BYTES)
        except (EngineError, TimeoutError) as error:
            problems.append(f"changes: {str(error) or 'the engine took too long'}"[:300])
            return b""

    def _findings(self, container: str) -> list[dict[str, Any]]:
        grave = [one for one in self._ledger.of(container) if one.severity.at_least(FLOOR)]
        return [one.model_dump(mode="json") for one in grave[-FINDINGS:]]


def _lent(sandbox: Sandbox | None, lent: ExitStack, problems: list[str]) -> int | None:
    if sandbox is None:
        return None
    try:
        return lent.enter_context(sandbox.workspace.lent())
    except ValueError as error:
        problems.append(f"workspace: {error}")
        return None


async def _told(task: Task) -> Told:
    """By a process beside the daemon. Where it fails there is no file, and `problems` says why."""
    descriptors = () if task.workspace is None else (task.workspace,)
    try:
        answer = await run_module(
            "daemon.forensics.worker", (), WORKER, stdin=pickle.dumps(task), descriptors=descriptors
        )
    except Unscannable as error:
        return Told("", 0, 0, 0, [*task.problems, f"no file was made: {error}"])
    return Told(**json.loads(answer))


def _summary(record: FindingRecord) -> dict[str, Any]:
    summary = EvidenceSummary(
        id=new_id(),
        time=datetime.now(UTC),
        container_id=record.container_id,
        sandbox_id=record.sandbox_id,
        session_id=record.session_id,
        owner_uid=record.owner_uid,
        finding_id=record.id,
        rule_id=record.rule_id,
        title=record.title,
        severity=record.severity,
        response=record.action,
    )
    return summary.model_dump(mode="json")


def _event(summary: dict[str, Any], told: Told) -> SecurityAuditEvent:
    named = {name: summary[name] for name in ("finding_id", "rule_id", "container_id")}
    return SecurityAuditEvent(
        session_id=summary["session_id"] or summary["container_id"][:32],
        event_type=EventType.FORENSICS_COLLECTED,
        severity=Severity.LOW if told.sha256 else Severity.MEDIUM,
        action="recorded" if told.sha256 else "failed",
        details={"forensics_id": summary["id"], **named, **asdict(told)},
        sandbox_id=summary["sandbox_id"],
    )

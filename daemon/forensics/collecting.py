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
from daemon.sandbox.sandbox import Registry

FLOOR = Severity.HIGH
QUEUED = 64
READERS = 4
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
    changes: bytes = b""
    workspace: int | None = None
    lent: ExitStack = field(default_factory=ExitStack)
    """Holds the workspace's descriptor."""
    problems: list[str] = field(default_factory=list)
    read: asyncio.Event = field(default_factory=asyncio.Event)
    """What goes with the container has been read."""


class Forensics:
    """`open` a case as a finding is made, `begin` it once the response is done; `run` does the rest.

    What goes with a container is read of several at once, as its removal waits for it; files are made one
    after the other.
    """

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
        self._begun: asyncio.Queue[Case] = asyncio.Queue()
        self._read: asyncio.Queue[Case] = asyncio.Queue()
        self._open: dict[str, Case] = {}
        self._collected: OrderedDict[str, tuple[float, Severity]] = OrderedDict()

    def open(self, record: FindingRecord) -> Case | None:
        """None where there is nothing to collect, or it was just done. Whoever gets a case begins it."""
        container = record.container_id
        if not (self.store.enabled and container and record.severity.at_least(FLOOR)):
            return None
        if container in self._open or not self._is_due(record):
            return None
        if len(self._open) >= QUEUED:
            self.dropped += 1
            log.warning("forensics not collected: too many are waiting", container=container[:12])
            return None
        self._remember(record)
        case = self._open[container] = Case(record, self._pipeline.recent.of(container))
        return case

    def begin(self, case: Case) -> None:
        self._begun.put_nowait(case)

    async def settled(self, container_id: str) -> None:
        """Before it is removed: what has to be read of it has been, or it has taken too long."""
        if (case := self._open.get(container_id)) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * READING_DEADLINE_S):
                    await case.read.wait()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.to_thread(self.store.clean)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make_files())
            for _ in range(READERS):
                tasks.create_task(self._read_containers())

    def _is_due(self, record: FindingRecord) -> bool:
        before_s, worst = self._collected.get(record.container_id, (-AGAIN_AFTER_S, Severity.LOW))
        return time.monotonic() - before_s >= AGAIN_AFTER_S or record.severity.rank > worst.rank

    def _remember(self, record: FindingRecord) -> None:
        _, worst = self._collected.pop(record.container_id, (0.0, Severity.LOW))
        worst = max(record.severity, worst, key=lambda one: one.rank)
        self._collected[record.container_id] = (time.monotonic(), worst)
        if len(self._collected) > REMEMBERED:
            self._collected.popitem(last=False)

    async def _read_containers(self) -> None:
        while True:
            case = await self._begun.get()
            self._lend(case)
            try:
                async with asyncio.timeout(READING_DEADLINE_S):
                    case.changes = await self._engine.changes(case.record.container_id, ANSWER_BYTES)
            except (EngineError, TimeoutError) as error:
                case.problems.append(f"changes: {str(error) or 'the engine took too long'}"[:300])
            case.read.set()
            self._read.put_nowait(case)

    def _lend(self, case: Case) -> None:
        """The workspace, which may be gone once the sandbox is."""
        sandbox = self._registry.get(case.record.sandbox_id) if case.record.sandbox_id else None
        if sandbox is not None:
            try:
                case.workspace = case.lent.enter_context(sandbox.workspace.lent())
            except (ValueError, OSError) as error:
                case.problems.append(f"workspace: {error}"[:300])

    async def _make_files(self) -> None:
        while True:
            case = await self._read.get()
            try:
                await self._make_file(case)
            except Exception:  # the border of one case: its trouble is not another's
                log.exception("forensics not kept", container=case.record.container_id[:12])
            finally:
                case.lent.close()
                del self._open[case.record.container_id]

    async def _make_file(self, case: Case) -> None:
        container = case.record.container_id
        task = Task(
            store=self.store,
            summary=_summary(case.record),
            findings=self._findings(container),
            alive=case.record.action != KILLED,
            known=list(islice(self._pipeline.processes.of(container, AMONG), PROCESSES)),
            events=case.events,
            changes=case.changes,
            workspace=case.workspace,
            problems=case.problems,
        )
        told = await _told(task)
        with suppress(AuditError):  # the log said so itself, and the file is there
            await self._audit.record(_event(task.summary, told))

    def _findings(self, container: str) -> list[dict[str, Any]]:
        grave = [one for one in self._ledger.of(container) if one.severity.at_least(FLOOR)]
        return [one.model_dump(mode="json") for one in grave[-FINDINGS:]]


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

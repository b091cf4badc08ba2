"""Collects evidence after grave findings, one container after the other, and never before the response."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from pydantic import TypeAdapter

from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import AuditError, EngineError
from daemon.events import Event, Process
from daemon.findings import Severity
from daemon.forensics import changes
from daemon.forensics.evidence import Evidence, EvidenceSummary, FileChange, ProcessEvidence, within
from daemon.forensics.store import EvidenceStore, new_id
from daemon.images.child import Unscannable, run_module
from daemon.images.confinement import Limits
from daemon.ledger import FindingRecord, Ledger, plain
from daemon.pipeline import Pipeline
from daemon.sandbox.engine import Engine
from daemon.sandbox.sandbox import Registry, Sandbox
from daemon.sensors.replay import encode

FLOOR = Severity.HIGH
QUEUED = 64
AGAIN_AFTER_S = 60.0
"""Of one container: sooner only for a worse finding."""
REMEMBERED = 2048
READING_DEADLINE_S = 5.0
FINDINGS = 20
PROCESSES = 256
AMONG = 4096
KILLED = "kill"
"""As a finding's `action` has it: nothing runs any more."""
READER = Limits(wall_s=3.0, output_bytes=4 << 20)

log = structlog.get_logger()
T = TypeVar("T")
_PROCESSES = TypeAdapter(list[ProcessEvidence])


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
        container = case.record.container_id
        sandbox = self._registry.get(case.record.sandbox_id) if case.record.sandbox_id else None
        known = list(self._pipeline.processes.of(container, AMONG))[:PROCESSES]
        problems: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_tried("processes", problems, _running(case.record)))
            changed = tasks.create_task(_tried("changes", problems, changes.of_root(self._engine, container)))
            present = tasks.create_task(_tried("workspace", problems, _workspace(sandbox)))
        case.read.set()
        evidence = Evidence(
            summary=_summary(case.record),
            findings=self._findings(container),
            processes=_together(running.result(), known),
            events=[],
            changes=[*changed.result(), *present.result()],
            problems=problems,
        )
        await self._tell(*await asyncio.to_thread(self._put, evidence, case.events))

    def _findings(self, container: str) -> list[FindingRecord]:
        grave = [one for one in self._ledger.of(container) if one.severity.at_least(FLOOR)]
        return within([one.model_copy() for one in grave[-FINDINGS:]], lambda one: len(one.model_dump_json()))

    def _put(self, evidence: Evidence, events: tuple[Event, ...]) -> tuple[Evidence, str]:
        """In a thread: the whole of it takes some milliseconds."""
        lines = within(map(encode, reversed(events)), len)
        told = [plain(json.loads(line)) for line in reversed(lines)]
        whole = evidence.model_copy(update={"events": told})
        return whole, self.store.put(whole)

    async def _tell(self, evidence: Evidence, sha256: str) -> None:
        with suppress(AuditError):  # the log said so itself, and the file is there
            await self._audit.record(_event(evidence, sha256))


async def _tried(what: str, problems: list[str], reading: Awaitable[list[T]]) -> list[T]:
    try:
        async with asyncio.timeout(READING_DEADLINE_S):
            return await reading
    except (EngineError, Unscannable, OSError, ValueError) as error:  # TimeoutError is an OSError
        problems.append(f"{what}: {error or f'not read within {READING_DEADLINE_S:.0f} s'}"[:300])
        return []


async def _running(record: FindingRecord) -> list[ProcessEvidence]:
    if record.action == KILLED:
        return []
    return _PROCESSES.validate_json(await run_module("daemon.forensics.live", [record.container_id], READER))


async def _workspace(sandbox: Sandbox | None) -> list[FileChange]:
    return await asyncio.to_thread(changes.of_workspace, sandbox.workspace) if sandbox else []


def _together(running: list[ProcessEvidence], known: list[Process]) -> list[ProcessEvidence]:
    """Those that run, with the arguments that they were started with; then those that have ended."""
    by_pid = {process.pid: process for process in known}
    alive = {process.pid for process in running}
    for process in running:
        if (told := by_pid.get(process.pid)) is not None:
            process.argv = plain(told.argv)
    ended = (_ended(process) for process in known if process.pid not in alive)
    return [*running, *within(ended, lambda one: len(one.model_dump_json()))]


def _ended(process: Process) -> ProcessEvidence:
    return ProcessEvidence(
        pid=process.pid, ppid=process.ppid, exe=plain(process.exe), argv=plain(process.argv)
    )


def _summary(record: FindingRecord) -> EvidenceSummary:
    return EvidenceSummary(
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


def _event(evidence: Evidence, sha256: str) -> SecurityAuditEvent:
    summary = evidence.summary
    return SecurityAuditEvent(
        session_id=summary.session_id or summary.container_id[:32],
        event_type=EventType.FORENSICS_COLLECTED,
        severity=Severity.LOW,
        action="recorded",
        details={
            "forensics_id": summary.id,
            "sha256": sha256,
            "finding_id": summary.finding_id,
            "rule_id": summary.rule_id,
            "container_id": summary.container_id,
            "processes": len(evidence.processes),
            "events": len(evidence.events),
            "changes": len(evidence.changes),
            "problems": evidence.problems,
        },
        sandbox_id=summary.sandbox_id,
    )

"""The only module that acts on a sandbox because of a finding: alert, pause, kill, quarantine; all audited.

A refused attempt is told, never answered: it harmed nobody, and its sandbox goes on being what it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from weakref import WeakValueDictionary

import structlog

from daemon import links, tracing
from daemon.audit.log import AuditLog
from daemon.audit.record import EventType, SecurityAuditEvent
from daemon.errors import AuditError, EngineError, ResponseError, SensorError
from daemon.events import Enrolled, Event, SyscallEvent
from daemon.expectation import Expectation
from daemon.findings import Finding, Severity
from daemon.forensics.collecting import Case, Forensics
from daemon.ledger import FindingRecord, Ledger
from daemon.sandbox.executor import Executor
from daemon.sandbox.farewell import has_ended
from daemon.sandbox.sandbox import Sandbox, State
from daemon.sensing import Sensing
from daemon.sensors.abi import InKernel

QUEUED = 10_000
AT_ONCE = 64
AGAIN_S, REMEMBERED = 0.1, 1024
"""One container is acted on no more often for what is no news: who cannot be held must not flood the log."""
CONTROL_PLANE = "daemon"

log = structlog.get_logger()


class Action(StrEnum):
    ALERT = "alert"
    PAUSE = "pause"
    QUARANTINE = "quarantine"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to follow a finding. `found_ns`: when a detector had it, CLOCK_MONOTONIC."""

    finding: Finding
    record: FindingRecord
    action: Action
    found_ns: int
    case: Case | None = None
    """What is to be collected once the action is done."""


class Responder:
    """`publish` is the pipeline's; `run` answers and audits, in the order of a container's findings."""

    def __init__(
        self,
        executor: Executor,
        ledger: Ledger,
        audit: AuditLog,
        expected: Callable[[str], Expectation | None],
        *,
        unmanaged: Action,
    ) -> None:
        self.sensing: Sensing | None = None
        self.forensics: Forensics | None = None
        self.dropped = 0
        self._executor = executor
        self._ledger = ledger
        self._audit = audit
        self._expected = expected
        self._unmanaged = unmanaged
        self._queue: asyncio.Queue[Answer] = asyncio.Queue(QUEUED)
        self._acted_s: OrderedDict[str, float] = OrderedDict()
        self._under_way = asyncio.Semaphore(AT_ONCE)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By container, for as long as something about it is under way."""

    def publish(self, finding: Finding, expected: Expectation) -> None:
        """At once: the ledger, and what the kernel does alone. The rest follows in `run`."""
        entry = self._ledger.add(finding, expected)
        sandbox = self._sandbox(expected.sandbox_id)
        if entry.record.count == 1 and sandbox is not None:
            entry.record.trace_id, entry.record.owner_uid = sandbox.trace_id, sandbox.owner.uid
        action, container = self._action(finding, sandbox, expected), expected.container_id
        is_due = entry.news or self._is_due(action, sandbox, container)
        self._act_at_once(finding, action, sandbox, container)
        if is_due:
            self._remember(action, container)
            case = self.forensics.open(entry.record) if self.forensics else None
            self._enqueue(Answer(finding, entry.record, action, time.monotonic_ns(), case))

    def _is_due(self, action: Action, sandbox: Sandbox | None, container: str) -> bool:
        """Of what was told before: a pause may have been lifted, and what was killed started again."""
        match action:
            case Action.ALERT:
                return False
            case Action.PAUSE if sandbox is not None and sandbox.state is not State.RUNNING:
                return False
            case Action.KILL if sandbox is not None and sandbox.killed:
                return False
            case Action.QUARANTINE if self._is_quarantined(container):
                return False
        return time.monotonic() - self._acted_s.get(container, -AGAIN_S) >= AGAIN_S

    def _act_at_once(self, finding: Finding, action: Action, sandbox: Sandbox | None, container: str) -> None:
        if action is Action.KILL and sandbox is not None:
            self._executor.kill_now(sandbox, f"container killed: security violation: {finding.rule.title}")
        if action is Action.QUARANTINE and not self._is_quarantined(container):
            self._deny_network(container)

    def _is_quarantined(self, container: str) -> bool:
        return self.sensing is not None and container in self.sensing.quarantined

    def _remember(self, action: Action, container: str) -> None:
        if action is Action.ALERT:
            return
        self._acted_s[container] = time.monotonic()
        self._acted_s.move_to_end(container)
        if len(self._acted_s) > REMEMBERED:
            self._acted_s.popitem(last=False)

    async def run(self) -> None:
        """In turn for each container: one that the engine is slow with holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                answer = await self._queue.get()
                await self._under_way.acquire()
                turn = self._turns.setdefault(answer.record.container_id, asyncio.Lock())
                tasks.create_task(self._follow(answer, turn))

    async def _follow(self, answer: Answer, turn: asyncio.Lock) -> None:
        """The log takes several events at once, in their order."""
        try:
            async with turn:
                event = await self._answer(answer)
                self._collect(answer.case)
            with suppress(AuditError):  # the log said so itself, and the ledger has the finding
                await self._audit.record(event)
        finally:
            self._under_way.release()

    async def _answer(self, answer: Answer) -> SecurityAuditEvent:
        """What is to be audited, once it was acted on."""
        record = answer.record
        sandbox = self._sandbox(record.sandbox_id)
        run = sandbox.span if sandbox else tracing.NOWHERE
        with tracing.violation(run, answer.finding.event.time_ns, _of_violation(record)) as span:
            if answer.action is not Action.ALERT:
                record.action = await self._act(record, answer.action)
            span.set_attribute("container_kit.action", record.action)
            return self._event(answer)

    def _collect(self, case: Case | None) -> None:
        if case is not None and self.forensics is not None:
            self.forensics.begin(case)

    def _enqueue(self, answer: Answer) -> None:
        try:
            self._queue.put_nowait(answer)
        except asyncio.QueueFull:
            self.dropped += 1
            log.exception("finding not audited: the queue is full", rule=answer.record.rule_id)
            self._collect(answer.case)

    def _sandbox(self, sandbox_id: str | None) -> Sandbox | None:
        """None for a container of somebody else, and for one that was forgotten."""
        return None if sandbox_id is None else self._executor.registry.get(sandbox_id)

    def _action(self, finding: Finding, sandbox: Sandbox | None, expected: Expectation) -> Action:
        if _refused(finding.event) or not expected.container_id:
            return Action.ALERT
        if sandbox is None:
            return self._unmanaged if finding.severity is Severity.CRITICAL else Action.ALERT
        profile = self._executor.profiles.get(sandbox.options.profile)
        return Action(profile.response.value.of(finding.severity))

    async def _act(self, record: FindingRecord, action: Action) -> str:
        """What was done. One of ours that could not be held is ended: it must not go on as if nothing was."""
        try:
            await self._do(record, action)
        except (EngineError, ResponseError) as error:
            log.exception("response failed", action=action, container=record.container_id)
            sandbox = self._sandbox(record.sandbox_id)
            if sandbox is None or sandbox.state is State.ENDED or has_ended(sandbox.pidfd):
                return f"{action} failed: {error}"[:200]
            self._executor.kill_now(sandbox, f"container killed: {action} failed: {error}")
            return f"{Action.KILL}: {action} failed: {error}"[:200]
        return action.value

    async def _do(self, record: FindingRecord, action: Action) -> None:
        sandbox = self._sandbox(record.sandbox_id)
        if action is Action.QUARANTINE:
            await self._quarantine(record.container_id, sandbox)
        elif sandbox is None:
            engine = self._executor.engine
            await (engine.kill if action is Action.KILL else engine.pause)(record.container_id)
        elif action is Action.KILL:
            await self._executor.kill(sandbox)
        elif sandbox.state is State.RUNNING:
            await self._executor.pause(sandbox)

    async def _quarantine(self, container: str, sandbox: Sandbox | None) -> None:
        """What begins is denied already; with its wire goes what stands."""
        known = self.sensing.process_of(container) if self.sensing else None
        if (pid := sandbox.pid if sandbox else known) is None:
            raise ResponseError("no process of it is known")
        await asyncio.to_thread(links.cut, pid, container)

    def _deny_network(self, container: str) -> None:
        """By the kernel's hooks, as far as there are any."""
        if self.sensing is not None:
            with suppress(SensorError):
                self.sensing.quarantine(container)

    def enrolled(self, event: Enrolled) -> None:
        """What the profile wants done in the kernel, before the task can return to user mode."""
        expected, ebpf = self._expected(event.sandbox), self.sensing.ebpf if self.sensing else None
        if self._is_quarantined(event.sandbox):
            self._deny_network(event.sandbox)  # a sensor that is new knows nothing of it
        if expected is None or not expected.managed or ebpf is None:
            return
        profile = self._executor.profiles.get(expected.profile)
        if Action(profile.response.value.critical) is Action.KILL:
            with suppress(SensorError):  # its processes are gone already
                ebpf.respond(event.sandbox, InKernel.KILL_ON_DRIFT | InKernel.KILL_ON_FOREIGN)

    def _event(self, answer: Answer) -> SecurityAuditEvent:
        record, seen_ns = answer.record, answer.finding.event.time_ns
        details: dict[str, Any] = record.model_dump(
            mode="json", exclude={"sandbox_id", "session_id", "trace_id"}
        )
        details["detection_latency_ms"] = round((answer.found_ns - seen_ns) / 1e6, 3)
        details["response_latency_ms"] = round((time.monotonic_ns() - seen_ns) / 1e6, 3)
        sandbox = self._sandbox(record.sandbox_id)
        trace_id, span_id = tracing.ids(tracing.current())
        return SecurityAuditEvent(
            session_id=record.session_id or record.container_id[:32] or CONTROL_PLANE,
            event_type=EventType.SECURITY_VIOLATION,
            severity=record.severity,
            action=record.action,
            details=details,
            sandbox_id=record.sandbox_id,
            trace_id=record.trace_id or trace_id,
            span_id=span_id if record.trace_id in {None, trace_id} else None,
            actor=sandbox.owner if sandbox else None,
            image_digest=sandbox.report.image_id if sandbox else None,
            profile_digest=sandbox.report.profile_digest if sandbox else None,
            sensor_tier=record.sensor_tier,
        )


def _of_violation(record: FindingRecord) -> tracing.Attributes:
    """https://opentelemetry.io/docs/specs/semconv/registry/attributes/security-rule/"""
    return {
        "security_rule.name": record.rule_id,
        "security_rule.category": record.category,
        "security_rule.description": record.title,
        "security_rule.ruleset.name": "container-kit",
        "process.pid": record.process.pid,
        "process.parent_pid": record.process.ppid,
        "process.executable.path": record.process.exe,
        "process.user.id": record.process.uid,
        "container.id": record.container_id,
        "container.image.name": record.image,
        "container_kit.sandbox.id": record.sandbox_id or "",
        "container_kit.finding.id": record.id,
        "container_kit.finding.count": record.count,
        "container_kit.severity": record.severity,
        "container_kit.techniques": record.techniques,
        "container_kit.sensor.tier": record.sensor_tier,
    }


def _refused(event: Event) -> bool:
    return isinstance(event, SyscallEvent) and event.result < 0

"""The main line: validate, configure, create, attest, run, collect."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from daemon import tracing
from daemon.audit.log import AuditLog
from daemon.audit.record import Actor, EventType
from daemon.audit.trail import Trail
from daemon.errors import (
    AttestationError,
    AuditError,
    DaemonStopping,
    EngineError,
    ImageNotFound,
    PolicyError,
)
from daemon.findings import Severity
from daemon.images.credentials import Credentials
from daemon.images.gate import Gate, SignatureReview
from daemon.sandbox import span_attributes
from daemon.sandbox.adoption import AdoptionRecords
from daemon.sandbox.checks import Subject
from daemon.sandbox.checks.inventory import IMAGE_CHECKS
from daemon.sandbox.clock import timed
from daemon.sandbox.egress import EgressPolicy, effective
from daemon.sandbox.engine import INSTANCE_LABEL, LABEL, SESSION_LABEL, Engine
from daemon.sandbox.environment import environment
from daemon.sandbox.facts import ImageFacts
from daemon.sandbox.farewell import give_go
from daemon.sandbox.host import HostState
from daemon.sandbox.hostconfig import create_body, networked
from daemon.sandbox.killing import kill
from daemon.sandbox.kind import order
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.pool import Pool, Spare
from daemon.sandbox.preparation import ImageMoved, Request, awaken, prepare
from daemon.sandbox.profile import Profile, Profiles
from daemon.sandbox.pulling import Pulls
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Registry, Sandbox, State
from daemon.sandbox.stillness import Stillness
from daemon.sandbox.supervision import supervise
from daemon.sandbox.validator import SecurityValidator
from daemon.sandbox.watcher import Unwatched, Watcher
from daemon.tasks import together

ROOT = Actor(uid=0, gid=0, pid=os.getpid())
"""The daemon itself."""

log = structlog.get_logger()


class ExecutionBlocked(PolicyError):
    """The report says HIGH or CRITICAL."""

    def __init__(self, report: SecurityReport) -> None:
        super().__init__(f"execution blocked: {report.risk_level} risk level")
        self.report = report


class Executor:
    """`tasks` must outlive every sandbox: each has one task in it, from its go to its result."""

    def __init__(
        self,
        engine: Engine,
        host: HostState,
        profiles: Profiles,
        gate: Gate,
        audit: AuditLog,
        registry: Registry,
        credentials: Credentials,
    ) -> None:
        self.engine = engine
        self.host = host
        self.profiles = profiles
        self.gate = gate
        self.pulls = Pulls(engine, gate, credentials)
        self.audit = audit
        self.registry = registry
        self.validator = SecurityValidator()
        self.image_validator = SecurityValidator(IMAGE_CHECKS)
        self.watcher: Watcher = Unwatched()
        self.records = AdoptionRecords(audit.path.parent.parent / "sandboxes")
        self.tasks: asyncio.TaskGroup | None = None
        self.pool = Pool(engine, self._spare_request)
        self.on_ended: Callable[[Sandbox, ExecutionResult], None] = lambda *_: None
        self.stillness = Stillness()
        self.stopping = False
        """Nothing gets its go any more."""
        # Two daemons may share an engine: each ends only what it made itself.
        self._instance = instance(audit.path)

    async def assess(self, options: SandboxOptions) -> tuple[Subject, SecurityReport]:
        """Raises PolicyError for an unknown profile, ImageNotFound, EngineError."""
        self.profiles.get(options.profile)  # what the caller may not ask for is told before what is not there
        with tracing.span("sandbox.image", {"container.image.name": options.image}) as span:
            image = await self.host.image(options.image)
            span.set_attribute("container.image.id", image.id)
        return await self._assess(options, image)

    async def check_image(self, image: str, profile: str) -> SecurityReport:
        """Of the checks of the image alone. Raises as `assess` does."""
        subject, _ = await self.assess(SandboxOptions(image=image, command=["true"], profile=profile))
        return await self.image_validator.validate(subject)

    async def check_signatures(self, image: str, profile: str) -> tuple[ImageFacts, SignatureReview]:
        """Raises as `assess` does."""
        self.profiles.get(profile)
        facts = await self.host.image(image)
        return facts, await self.gate.signatures(image, profile, facts)

    async def _assess(self, options: SandboxOptions, image: ImageFacts) -> tuple[Subject, SecurityReport]:
        subject = await self.subject(options, image)
        with tracing.span("sandbox.image.judge", {"container.image.id": image.id}):
            subject = replace(subject, gate=await self.gate.judge(options.image, options.profile, image))
        with tracing.span("sandbox.validate") as span:
            report = await self.validator.validate(subject)
            span.set_attributes(span_attributes.judged(report))
        return subject, report

    async def subject(self, options: SandboxOptions, image: ImageFacts) -> Subject:
        profile = self.profiles.get(options.profile)
        engine, host = await self.host.engine_facts(), self.host.facts()
        apparmor = profile.apparmor.value if profile.apparmor.value in host.apparmor_profiles else None
        variables = environment(options, profile, image)
        egress = await self._egress(options, profile)
        resolver = str(egress.resolver) if egress and egress.resolver else None
        body = create_body(options, profile, image, engine, variables, apparmor=apparmor, resolver=resolver)
        return Subject(options, profile, body, variables, image, engine, host, egress)

    async def _egress(self, options: SandboxOptions, profile: Profile) -> EgressPolicy | None:
        """What the check refuses is confined to nothing here."""
        if not networked(options, profile):
            return None
        try:
            rules = effective(profile.egress.value, options.security_policy.egress)
        except PolicyError:
            return EgressPolicy(())
        if rules is None:
            return None
        by_name = any(rule.name is not None for rule in rules)
        return EgressPolicy(rules, await self.host.gateway(profile.network.value) if by_name else None)

    async def launch(self, options: SandboxOptions, actor: Actor) -> Sandbox:
        """Returns once the program has its go and the audit event about it is durable.

        It belongs to the trace of the current span. A caller that is cancelled before takes the sandbox
        with it.
        """
        if self.stopping:
            raise DaemonStopping
        request = await self._judge(options, actor)
        launched: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
        if self.tasks is None:
            raise RuntimeError("the executor has no task group")
        life = self.tasks.create_task(
            self._live(request, launched), name=f"sandbox {request.trail.sandbox_id}"
        )
        try:
            return await launched
        finally:
            if launched.cancelled():
                life.cancel()
                await asyncio.wait([life])

    async def _judge(self, options: SandboxOptions, actor: Actor) -> Request:
        """Raises ExecutionBlocked, after its audit event."""
        sandbox_id = secrets.token_hex(8)
        trace_id, _ = tracing.ids(tracing.current())
        trail = Trail(self.audit, sandbox_id, options.session_id or sandbox_id, actor, trace_id)
        tracing.describe(span_attributes.asked_for(trail, options))
        durations_ms: dict[str, float] = {}
        with timed(durations_ms, "validate"):
            subject, report, from_memory = await self._assess_or_pull(options)
        trail = of_judged(trail, report)
        if report.blocked:
            await trail.record(EventType.EXECUTION_BLOCKED, Severity.HIGH, "blocked", _blocked(report))
            raise ExecutionBlocked(report)
        return Request(subject, report, actor, trail, self._labels(trail), durations_ms, from_memory)

    async def _assess_or_pull(self, options: SandboxOptions) -> tuple[Subject, SecurityReport, bool]:
        try:
            return await self._assess_quickly(options)
        except ImageNotFound:
            profile = self.profiles.get(options.profile)
            if not profile.pull.value:
                raise
            with tracing.span("sandbox.image.pull", {"container.image.name": options.image}):
                await self.pulls.pull(options, profile)
            return *await self.assess(options), False

    async def _assess_quickly(self, options: SandboxOptions) -> tuple[Subject, SecurityReport, bool]:
        """From what the image was last time, if that lets it run: then True, and it must be confirmed."""
        if (image := self.host.remembered_image(options.image)) is not None:
            with suppress(ImageNotFound):  # gone, and another may have its name by now
                subject, report = await self._assess(options, image)
                if not report.blocked:
                    return subject, report, True
        return *await self.assess(options), False

    async def _spare_request(self, options: SandboxOptions) -> Request:
        """Raises PolicyError, EngineError."""
        subject, report = await self.assess(options)
        if report.blocked:
            raise ExecutionBlocked(report)
        sandbox_id = secrets.token_hex(8)
        trail = of_judged(Trail(self.audit, sandbox_id, sandbox_id, ROOT), report)
        return Request(subject, report, ROOT, trail, self._labels(trail), {})

    async def _live(self, request: Request, launched: asyncio.Future[Sandbox]) -> None:
        """A sandbox from its judgement to its result. Never raises: one's trouble is not another's."""
        try:
            try:
                if (spare := self.pool.take(request.subject)) is None:
                    await self._run(request, launched)
                else:
                    await self._run_spare(_as(request, spare), spare, launched)
            except ImageMoved:
                self.host.forget_image(request.subject.options.image)
                await self._run(await self._judged_anew(request), launched)
        except Exception as error:
            if not launched.done():
                launched.set_exception(error)

    async def _judged_anew(self, request: Request) -> Request:
        return await self._judge(request.subject.options, request.actor)

    async def _run(self, request: Request, launched: asyncio.Future[Sandbox]) -> None:
        async with AsyncExitStack() as cleanup, _failure_recorded(request.trail), together() as tasks:
            sandbox = await prepare(self.engine, self.watcher, self.records, request, cleanup, tasks)
            self._let_go(sandbox, cleanup, launched)
            await self.supervise(sandbox)

    async def _run_spare(self, request: Request, spare: Spare, launched: asyncio.Future[Sandbox]) -> None:
        tracing.describe(span_attributes.asked_for(request.trail, request.subject.options))
        with self.pool.in_hand(spare.sandbox.id):
            await self._awaken(request, spare, launched)

    async def _awaken(self, request: Request, spare: Spare, launched: asyncio.Future[Sandbox]) -> None:
        async with spare.cleanup as cleanup, _failure_recorded(request.trail):
            sandbox = await awaken(self.engine, self.watcher, self.records, request, spare.sandbox, cleanup)
            self._let_go(sandbox, cleanup, launched, order(request.subject))
            await self.supervise(sandbox)

    def _let_go(
        self,
        sandbox: Sandbox,
        cleanup: AsyncExitStack,
        launched: asyncio.Future[Sandbox],
        order: bytes = b"",
    ) -> None:
        if self.stopping:
            raise DaemonStopping
        sandbox.started_s = time.monotonic()
        give_go(sandbox.pid, sandbox.pidfd, order)
        cleanup.pop_all()
        self.registry.add(sandbox)
        launched.set_result(sandbox)

    def _labels(self, trail: Trail) -> dict[str, str]:
        return {LABEL: trail.sandbox_id, SESSION_LABEL: trail.session_id, INSTANCE_LABEL: self._instance}

    async def supervise(self, sandbox: Sandbox) -> None:
        """Never raises: one sandbox's trouble is not another's."""
        start_ns = int(sandbox.started_s * 1e9)
        with tracing.span("sandbox.run", span_attributes.running(sandbox), start_ns=start_ns) as span:
            sandbox.span = span.get_span_context()
            result = await self._result(sandbox)
            span.set_attributes(span_attributes.ended(sandbox, result))
        with tracing.span("sandbox.collect"):
            await self._collect(sandbox, result)

    async def _result(self, sandbox: Sandbox) -> ExecutionResult:
        try:
            return await supervise(self.engine, sandbox, self.watcher, self.stillness)
        except Exception as error:  # the border of one sandbox: recorded, and its result says so
            sandbox.kill_first_process()  # nobody watches it any more
            log.exception("sandbox failed", sandbox_id=sandbox.id)
            tracing.fail(error)
            return sandbox.outcome(None, f"the daemon lost the sandbox: {error}", None)

    async def _collect(self, sandbox: Sandbox, result: ExecutionResult) -> None:
        await self.watcher.ending(sandbox.container_id)
        try:
            await self.engine.remove(sandbox.container_id)
        except EngineError as error:
            log.warning("container not removed", sandbox_id=sandbox.id, reason=str(error))
        await sandbox.stream.close()
        sandbox.output.end()
        _close_watches(sandbox)
        self.records.remove(sandbox.id)
        sandbox.state = State.ENDED
        sandbox.ended_s = time.monotonic()
        self.on_ended(sandbox, result)
        findings = await self.watcher.ended(sandbox.container_id)
        result = result.model_copy(
            update={"message": sandbox.message or result.message, "findings": findings}
        )
        details = {
            "exit_code": result.exit_code,
            "message": result.message,
            "durations_ms": result.durations_ms,
            "findings": len(findings),
        }
        with suppress(Exception):  # the log has said so itself; the result must still reach who waits for it
            await sandbox.trail.record(EventType.EXECUTION_FINISHED, Severity.LOW, "finished", details)
        sandbox.result.set_result(result)
        self.registry.trim()

    async def kill(self, sandbox: Sandbox) -> None:
        """Ended already is fine; a paused one is let go by the engine, or it could not die."""
        if sandbox.state is State.ENDED:
            return
        sandbox.killed = True
        sandbox.message = sandbox.message or "container killed: on request"
        await kill(self.engine, sandbox)

    def kill_now(self, sandbox: Sandbox, message: str) -> None:
        """Whatever the engine does. A frozen one dies as it is thawed: `kill` does both."""
        if sandbox.state is State.ENDED or sandbox.killed:
            return
        sandbox.killed, sandbox.message = True, sandbox.message or message
        sandbox.kill_first_process()

    async def pause(self, sandbox: Sandbox) -> None:
        await self.engine.pause(sandbox.container_id)
        sandbox.becomes(State.PAUSED)

    async def resume(self, sandbox: Sandbox) -> None:
        await self.engine.unpause(sandbox.container_id)
        sandbox.becomes(State.RUNNING)


def _as(request: Request, spare: Spare) -> Request:
    """Its container has its id already."""
    sandbox_id = spare.sandbox.id
    session_id = request.subject.options.session_id or sandbox_id
    return replace(request, trail=replace(request.trail, sandbox_id=sandbox_id, session_id=session_id))


def of_judged(trail: Trail, report: SecurityReport) -> Trail:
    return replace(trail, image_digest=report.image_id, profile_digest=report.profile_digest)


def instance(audit_path: Path) -> str:
    """The value of INSTANCE_LABEL on each container of the daemon that writes this audit log."""
    return hashlib.sha256(str(audit_path.resolve()).encode()).hexdigest()[:16]


@asynccontextmanager
async def _failure_recorded(trail: Trail) -> AsyncIterator[None]:
    """So that no EXECUTION_STARTED stands alone; a violation has its own event already.

    An image that moved is launched anew.
    """
    try:
        yield
    except (AttestationError, ImageMoved):
        raise
    except BaseException as error:  # a caller that left, too: whatever it is goes on
        with suppress(AuditError):
            details = {"reason": str(error) or "the caller left before the program had its go"}
            await trail.record(EventType.EXECUTION_FAILED, Severity.MEDIUM, "failed", details)
        raise


def _close_watches(sandbox: Sandbox) -> None:
    if sandbox.oom is not None:
        asyncio.get_running_loop().remove_reader(sandbox.oom.fileno())
        sandbox.oom.close()
    sandbox.cgroup.close()
    os.close(sandbox.pidfd)


def _blocked(report: SecurityReport) -> dict[str, Any]:
    return {
        "message": f"execution blocked: {report.risk_level} risk level",
        "reasons": report.reasons,
        "image": report.image,
        "profile": report.profile,
        "report_id": report.id,
    }

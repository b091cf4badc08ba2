"""The main line: validate, configure, create, attest, run, collect."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import structlog

from daemon.audit.log import AuditLog
from daemon.audit.record import Actor, EventType, SecurityAuditEvent
from daemon.errors import AttestationError, EngineError, PolicyError
from daemon.findings import Severity
from daemon.sandbox import attest, init, resources
from daemon.sandbox.cgroup import Cgroup, CgroupGone, Usage
from daemon.sandbox.checks import Subject
from daemon.sandbox.engine import INSTANCE_LABEL, LABEL, SESSION_LABEL, Engine
from daemon.sandbox.environment import environment
from daemon.sandbox.host import HostState
from daemon.sandbox.hostconfig import WORKSPACE, create_body
from daemon.sandbox.oom import watch_oom
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.output import OutputLog
from daemon.sandbox.profile import Profiles
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Registry, Sandbox, State
from daemon.sandbox.stream import Channel, Stream
from daemon.sandbox.validator import SecurityValidator
from daemon.sandbox.workspace import Workspace

READY_DEADLINE_S = 30.0
SAMPLE_INTERVAL_S = 0.5
OUTPUT_DRAIN_S = 2.0
OOM_MESSAGE = "container killed: memory limit exceeded"

log = structlog.get_logger()


class ExecutionBlocked(PolicyError):
    """The report says HIGH or CRITICAL."""

    def __init__(self, report: SecurityReport) -> None:
        super().__init__(f"execution blocked: {report.risk_level} risk level")
        self.report = report


class Executor:
    """`tasks` must outlive every sandbox: each has one task in it, from its go to its result."""

    def __init__(
        self, engine: Engine, host: HostState, profiles: Profiles, audit: AuditLog, registry: Registry
    ) -> None:
        self.engine = engine
        self.host = host
        self.profiles = profiles
        self.audit = audit
        self.registry = registry
        self.validator = SecurityValidator()
        self.tasks: asyncio.TaskGroup | None = None
        # Two daemons may share an engine: each ends only what it made itself.
        self._instance = hashlib.sha256(str(audit.path.resolve()).encode()).hexdigest()[:16]

    async def assess(self, options: SandboxOptions) -> tuple[Subject, SecurityReport]:
        """Raises PolicyError for an unknown profile, ImageNotFound, EngineError."""
        profile = self.profiles.get(options.profile)
        image, engine = await self.host.image(options.image), await self.host.engine_facts()
        host = self.host.facts()
        apparmor = profile.apparmor.value if profile.apparmor.value in host.apparmor_profiles else None
        variables = environment(options, profile, image)
        body = create_body(options, profile, image, engine, variables, apparmor=apparmor)
        subject = Subject(options, profile, body, variables, image, engine, host)
        return subject, await self.validator.validate(subject)

    async def launch(self, options: SandboxOptions, actor: Actor, trace_id: str | None = None) -> Sandbox:
        """Returns once the program has its go and the audit event about it is durable."""
        sandbox_id = secrets.token_hex(8)
        durations_ms: dict[str, float] = {}
        with _timed(durations_ms, "validate"):
            subject, report = await self.assess(options)
        origin = _Origin(sandbox_id, options.session_id or sandbox_id, actor, trace_id)
        if report.blocked:
            await self._record(
                origin, EventType.EXECUTION_BLOCKED, Severity.HIGH, "blocked", _blocked(report)
            )
            raise ExecutionBlocked(report)
        async with AsyncExitStack() as cleanup:
            sandbox = await self._prepare(cleanup, origin, actor, subject, report, durations_ms)
            await self._record(
                origin, EventType.EXECUTION_STARTED, Severity.LOW, "allowed", _started(sandbox)
            )
            await self._go(sandbox)
            cleanup.pop_all()
        self.registry.add(sandbox)
        if self.tasks is None:
            raise RuntimeError("the executor has no task group")
        self.tasks.create_task(self._supervise(sandbox), name=f"sandbox {sandbox_id}")
        return sandbox

    async def _prepare(
        self,
        cleanup: AsyncExitStack,
        origin: _Origin,
        actor: Actor,
        subject: Subject,
        report: SecurityReport,
        durations_ms: dict[str, float],
    ) -> Sandbox:
        """Creates, starts and attests; whatever fails, `cleanup` leaves nothing behind."""
        options, body = subject.options, subject.body
        own = {LABEL: origin.sandbox_id, SESSION_LABEL: origin.session_id, INSTANCE_LABEL: self._instance}
        labels = {**body["Labels"], **own}
        with _timed(durations_ms, "create"):
            container = await self.engine.create(
                {**body, "Labels": labels}, f"container-kit-{origin.sandbox_id}"
            )
            cleanup.push_async_callback(self.engine.remove, container)
            stream = await self.engine.attach(container, tty=options.tty)
            cleanup.push_async_callback(stream.close)
        with _timed(durations_ms, "start"):
            await self._start(container, stream)
        with _timed(durations_ms, "attest"):
            inspected = await self.engine.inspect(container)
            pid = int(inspected["State"]["Pid"])
            await self._attest(origin, subject, inspected, pid)
            workspace = cleanup.enter_context(Workspace.open(pid, WORKSPACE, options.user, options.group))
            cgroup = cleanup.enter_context(Cgroup.of_pid(pid))
            pidfd = os.pidfd_open(pid)
            cleanup.callback(os.close, pidfd)
            if options.files:
                await asyncio.to_thread(_write_files, workspace, options)
        return Sandbox(
            id=origin.sandbox_id,
            session_id=origin.session_id,
            options=options,
            owner=actor,
            report=report,
            container_id=container,
            pid=pid,
            stream=stream,
            workspace=workspace,
            cgroup=cgroup,
            limits=cgroup.limits(),
            pidfd=pidfd,
            output=OutputLog(options.limits.output),
            durations_ms=durations_ms,
            trace_id=origin.trace_id,
        )

    async def _start(self, container: str, stream: Stream) -> None:
        """Until our init is in and waits: by then the runtime has applied all that it will ever apply."""
        await self.engine.start(container)
        async with asyncio.timeout(READY_DEADLINE_S):
            ready = await stream.first_byte()
        if ready != init.READY:
            raise EngineError(
                "the sandbox's init did not start: is the program's folder readable by the engine?"
            )

    async def _attest(self, origin: _Origin, subject: Subject, inspected: dict[str, Any], pid: int) -> None:
        found = [str(difference) for difference in attest.differences(subject.body, attest.observe(pid))]
        if inspected["Image"] != subject.image.id:
            found.append(f"image is {inspected['Image']}, asked for {subject.image.id}")
        if found:
            details = {"differences": found, "image": subject.options.image}
            await self._record(origin, EventType.SECURITY_VIOLATION, Severity.CRITICAL, "killed", details)
            raise AttestationError(found)

    async def _go(self, sandbox: Sandbox) -> None:
        await sandbox.stream.write(init.GO)
        sandbox.started_s = time.monotonic()

    async def _supervise(self, sandbox: Sandbox) -> None:
        """Never raises: one sandbox's trouble is not another's."""
        try:
            result = await self._run(sandbox)
        except Exception as error:  # the border of one sandbox: recorded, and its result says so
            log.exception("sandbox failed", sandbox_id=sandbox.id)
            result = self._result(sandbox, None, f"the daemon lost the sandbox: {error}", None)
        await self._collect(sandbox, result)

    async def _run(self, sandbox: Sandbox) -> ExecutionResult:
        watch = _Watch(sandbox)
        with _readable(sandbox.pidfd, watch.last):
            status = await self._until_exit(sandbox, watch)
        for excess in watch.found_last:
            await self.limit_exceeded(sandbox, excess.kind, excess.limit, excess.message)
        sandbox.durations_ms["run"] = (time.monotonic() - sandbox.started_s) * 1000
        sandbox.oom_killed = watch.oom_kills() > 0
        if sandbox.oom_killed:
            sandbox.message = OOM_MESSAGE
            await self.limit_exceeded(sandbox, "memory", sandbox.options.limits.memory, OOM_MESSAGE)
        return self._result(sandbox, status, sandbox.message, watch.usage)

    async def _until_exit(self, sandbox: Sandbox, watch: _Watch) -> int:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch_oom(sandbox))
            given = tasks.create_task(_give_input(sandbox))
            samples = tasks.create_task(self._sample(sandbox, watch))
            output = tasks.create_task(self._read_output(sandbox))
            try:
                async with asyncio.timeout(sandbox.options.limits.timeout_s):
                    status = await self.engine.wait(sandbox.container_id)
            except TimeoutError:
                status = await self._time_out(sandbox)
            await asyncio.wait([output], timeout=OUTPUT_DRAIN_S)
            samples.cancel()
            given.cancel()
            output.cancel()
        return status

    async def _time_out(self, sandbox: Sandbox) -> int:
        sandbox.timed_out = True
        limit_s = sandbox.options.limits.timeout_s
        sandbox.message = f"container killed: time limit of {limit_s:g} s exceeded"
        await self.limit_exceeded(sandbox, "timeout", limit_s, sandbox.message)
        await self.engine.kill(sandbox.container_id)
        return await self.engine.wait(sandbox.container_id)

    async def _read_output(self, sandbox: Sandbox) -> None:
        reported = False
        async for output in sandbox.stream.outputs():
            if not sandbox.output.append(output) and not reported:
                reported = True
                limit, name = sandbox.options.limits.output, output.channel.name.lower()
                message = f"output beyond {limit} bytes of {name} dropped"
                await self.limit_exceeded(sandbox, "output", sandbox.options.limits.output, message)

    async def _sample(self, sandbox: Sandbox, watch: _Watch) -> None:
        """Until the cgroup is gone. Each kind of excess is reported once a sandbox."""
        while True:
            try:
                exceeded = watch.sample()
            except CgroupGone:
                return
            for excess in exceeded:
                await self.limit_exceeded(sandbox, excess.kind, excess.limit, excess.message)
            await asyncio.sleep(watch.interval_s)

    async def _collect(self, sandbox: Sandbox, result: ExecutionResult) -> None:
        try:
            await self.engine.remove(sandbox.container_id)
        except EngineError as error:
            log.warning("container not removed", sandbox_id=sandbox.id, reason=str(error))
        await sandbox.stream.close()
        sandbox.output.end()
        if sandbox.oom is not None:
            asyncio.get_running_loop().remove_reader(sandbox.oom.fileno())
            sandbox.oom.close()
        sandbox.cgroup.close()
        os.close(sandbox.pidfd)
        sandbox.state = State.ENDED
        sandbox.ended_s = time.monotonic()
        details = {
            "exit_code": result.exit_code,
            "message": result.message,
            "durations_ms": result.durations_ms,
        }
        with suppress(Exception):  # the log has said so itself; the result must still reach who waits for it
            await self._record(
                _Origin.of(sandbox), EventType.EXECUTION_FINISHED, Severity.LOW, "finished", details
            )
        sandbox.result.set_result(result)
        self.registry.trim()

    def _result(
        self, sandbox: Sandbox, status: int | None, message: str, usage: Usage | None
    ) -> ExecutionResult:
        output = sandbox.output
        return ExecutionResult(
            sandbox_id=sandbox.id,
            session_id=sandbox.session_id,
            exit_code=status,
            signal=status - 128 if status is not None and 128 < status <= 192 else None,
            oom_killed=sandbox.oom_killed,
            timed_out=sandbox.timed_out,
            killed=sandbox.killed,
            message=message,
            stdout=output.of(Channel.STDOUT).decode(errors="replace"),
            stderr=output.of(Channel.STDERR).decode(errors="replace"),
            stdout_truncated=output.truncated(Channel.STDOUT),
            stderr_truncated=output.truncated(Channel.STDERR),
            durations_ms={phase: round(value, 3) for phase, value in sandbox.durations_ms.items()},
            cpu_ns=usage.cpu_ns if usage else 0,
            memory_peak_bytes=usage.memory_peak_bytes if usage else 0,
            pids_peak=usage.pids_peak if usage else 0,
            report_id=sandbox.report.id,
        )

    async def kill(self, sandbox: Sandbox) -> None:
        """Ended already is fine; a paused one is let go first, or it could not die."""
        if sandbox.state is State.ENDED:
            return
        sandbox.killed = True
        sandbox.message = sandbox.message or "container killed: on request"
        if sandbox.state is State.PAUSED:
            await self.resume(sandbox)
        await self.engine.kill(sandbox.container_id)

    async def pause(self, sandbox: Sandbox) -> None:
        await self.engine.pause(sandbox.container_id)
        sandbox.state = State.PAUSED

    async def resume(self, sandbox: Sandbox) -> None:
        await self.engine.unpause(sandbox.container_id)
        sandbox.state = State.RUNNING

    async def remove_orphans(self) -> int:
        """Containers of a daemon that is gone: nobody watches them, so they end here. Returns how many."""
        orphans = [
            c
            for c in await self.engine.managed(self._instance)
            if self.registry.get(c["Labels"][LABEL]) is None
        ]
        for container in orphans:
            await self.engine.remove(container["Id"])
            origin = _Origin(
                container["Labels"][LABEL], container["Labels"].get(SESSION_LABEL, ""), None, None
            )
            details = {"reason": "left by an earlier daemon, unwatched since"}
            await self._record(origin, EventType.EXECUTION_FAILED, Severity.MEDIUM, "killed", details)
        return len(orphans)

    async def limit_exceeded(self, sandbox: Sandbox, kind: str, limit: float, message: str) -> None:
        details = {"kind": kind, "limit": limit, "message": message}
        origin = _Origin.of(sandbox)
        await self._record(origin, EventType.RESOURCE_LIMIT_EXCEEDED, Severity.MEDIUM, "limited", details)

    async def _record(
        self, origin: _Origin, event_type: EventType, severity: Severity, action: str, details: dict[str, Any]
    ) -> None:
        await self.audit.record(
            SecurityAuditEvent(
                session_id=origin.session_id,
                event_type=event_type,
                severity=severity,
                action=action,
                details=details,
                actor=origin.actor,
                sandbox_id=origin.sandbox_id,
                trace_id=origin.trace_id,
            )
        )


class _Origin:
    """Whose event it is."""

    def __init__(self, sandbox_id: str, session_id: str, actor: Actor | None, trace_id: str | None) -> None:
        self.sandbox_id = sandbox_id
        self.session_id = session_id
        self.actor = actor
        self.trace_id = trace_id

    @classmethod
    def of(cls, sandbox: Sandbox) -> _Origin:
        return cls(sandbox.id, sandbox.session_id, sandbox.owner, sandbox.trace_id)


class _Watch:
    """Samples of one sandbox: the first at once, for a short run; later ones half a second apart."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._seen: set[str] = set()
        self.usage: Usage | None = None
        self.found_last: list[resources.Exceeded] = []
        self.interval_s = 0.02

    def sample(self) -> list[resources.Exceeded]:
        """What was exceeded for the first time; memory is the OOM watch's to tell. Raises CgroupGone."""
        before, self.usage = self.usage, self._sandbox.cgroup.usage()
        self.interval_s = min(SAMPLE_INTERVAL_S, self.interval_s * 2)
        exceeded = resources.exceeded(before or self.usage, self.usage, self._sandbox.limits)
        exceeded += resources.workspace_exceeded(self._sandbox.workspace.statvfs())
        new = [e for e in exceeded if e.kind not in self._seen and e.kind != resources.ExceededKind.MEMORY]
        self._seen.update(e.kind for e in new)
        return new

    def last(self) -> None:
        """At the exit of pid 1: milliseconds later the cgroup and its counters are gone."""
        asyncio.get_running_loop().remove_reader(self._sandbox.pidfd)
        self.oom_kills()
        with suppress(CgroupGone):
            self.found_last = self.sample()

    def oom_kills(self) -> int:
        """By the watch or by the last sample: an OOM may come before the one stands or after the other."""
        watched = self._sandbox.oom.killed() if self._sandbox.oom else 0
        return max(watched, self.usage.oom_kills if self.usage else 0)


async def _give_input(sandbox: Sandbox) -> None:
    """Beside the run: a program that does not read must not hold up its launch, nor its end fail it."""
    with suppress(ConnectionError):
        if sandbox.options.stdin is not None:
            await sandbox.stream.write(sandbox.options.stdin.encode())
        if not sandbox.options.interactive:
            sandbox.stream.end_input()


async def _watch_oom(sandbox: Sandbox) -> None:
    """In a thread and after the go: under cgroup v1 the kernel takes about 7 ms to register a watch."""
    try:
        sandbox.oom = await asyncio.to_thread(watch_oom, sandbox.cgroup)
    except CgroupGone:
        return  # it ended sooner; the sample taken at its exit has the count
    asyncio.get_running_loop().add_reader(sandbox.oom.fileno(), sandbox.oom.killed)


@contextmanager
def _readable(descriptor: int, callback: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, callback)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


@contextmanager
def _timed(durations_ms: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        durations_ms[phase] = (time.perf_counter() - start) * 1000


def _write_files(workspace: Workspace, options: SandboxOptions) -> None:
    for path, file in options.files.items():
        workspace.write(path, file.data(), file.mode)


def _blocked(report: SecurityReport) -> dict[str, Any]:
    return {
        "message": f"execution blocked: {report.risk_level} risk level",
        "reasons": report.reasons,
        "image": report.image,
        "profile": report.profile,
        "report_id": report.id,
    }


def _started(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "image": sandbox.options.image,
        "image_id": sandbox.report.image_id,
        "profile": sandbox.options.profile,
        "risk_level": sandbox.report.risk_level,
        "report_id": sandbox.report.id,
        "container_id": sandbox.container_id,
        "command": [part[:256] for part in (sandbox.options.command + sandbox.options.args)[:64]],
    }

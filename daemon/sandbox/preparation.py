"""From a judged request to a sandbox in which only the go is missing.

Its EXECUTION_STARTED is written ahead: the disk has it before the program can run, and while the engine is
busy anyway. A sandbox that then comes to nothing has a second event that says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from daemon import tracing
from daemon.audit.record import Actor, EventType
from daemon.audit.trail import Trail
from daemon.errors import AttestationError, EngineError, ImageNotFound
from daemon.expectation import Expectation
from daemon.findings import Severity
from daemon.sandbox import attest, init
from daemon.sandbox.adoption import AdoptionRecord, AdoptionRecords
from daemon.sandbox.cgroup import Cgroup, CgroupGone
from daemon.sandbox.checks import Subject
from daemon.sandbox.clock import timed
from daemon.sandbox.engine import Engine
from daemon.sandbox.expected import of_launched
from daemon.sandbox.farewell import Farewell, awaits_go
from daemon.sandbox.first_process import first_pid
from daemon.sandbox.hostconfig import WORKSPACE
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.output import OutputLog
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.sandbox import Sandbox, State
from daemon.sandbox.stream import Connection, Stream
from daemon.sandbox.watcher import Watcher
from daemon.sandbox.workspace import Workspace

READY_DEADLINE_S = 30.0

log = structlog.get_logger()


class ImageMoved(EngineError):
    """The name stands for another image than the one that was remembered and judged."""

    def __init__(self, name: str) -> None:
        super().__init__(f"image {name!r} was changed while it was being launched: try again", 409)


@dataclass(frozen=True, slots=True)
class Request:
    """What was judged, for whom, and what its container is to be labelled with.

    `from_memory`: the image's name was not resolved anew, so that is still to be done.
    """

    subject: Subject
    report: SecurityReport
    actor: Actor
    trail: Trail
    labels: dict[str, str]
    durations_ms: dict[str, float]
    from_memory: bool = False


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first error comes out as itself: callers tell errors apart by type."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


async def prepare(
    engine: Engine,
    watcher: Watcher,
    records: AdoptionRecords,
    request: Request,
    cleanup: AsyncExitStack,
    tasks: asyncio.TaskGroup,
) -> Sandbox:
    """Creates, starts and attests; whatever fails, `cleanup` leaves nothing behind. Raises ImageMoved.

    The start call is still under way in `tasks` when this returns: the engine ends it milliseconds after
    our init has said that it is in, and by then the runtime has applied all that it will ever apply.
    """
    subject, durations_ms, ready = request.subject, request.durations_ms, asyncio.Event()
    with timed(durations_ms, "create"), tracing.span("sandbox.create") as span:
        dialling = tasks.create_task(_dial(engine, cleanup))
        container = await _create(engine, request, cleanup)
        span.set_attributes({"container.id": container, "container.runtime.name": "docker"})
        watcher.expect(_expected(request, container))
        cleanup.push_async_callback(watcher.ended, container)
        # Before the start, which holds the engine's lock on the container: what is written meanwhile is lost.
        stream = await engine.attach(container, tty=subject.options.tty, connection=await dialling)
        cleanup.push_async_callback(stream.close)
    with timed(durations_ms, "start"), tracing.span("sandbox.start"):
        starting = tasks.create_task(_start(engine, container, ready))
        identifying = tasks.create_task(engine.image_of(container))
        recording = tasks.create_task(_record_start(engine, request, container))
        # Before the caller knows of it: who has an id finds its sandbox again after a crash.
        cleanup.callback(records.remove, request.trail.sandbox_id)
        saving = tasks.create_task(asyncio.to_thread(_save, records, request, container))
        arriving = tasks.create_task(_ready(engine, stream, ready))
        pid = await _first_process(watcher.began(container), arriving)
        ready.set()
        if pid is None and (pid := first_pid(container, subject.engine)) is None:
            await starting
            pid = int((await engine.inspect(container))["State"]["Pid"])
    with timed(durations_ms, "attest"), tracing.span("sandbox.attest"):
        image_id = await identifying
        with _alive():
            sandbox = _open(request, container, pid, stream, cleanup)
            await _attest(request, sandbox, image_id)
        if subject.egress is not None:
            await watcher.confine(container, pid, subject.egress)
        if subject.options.files:
            await asyncio.to_thread(_write_files, sandbox.workspace, subject.options)
        await _listening(sandbox, arriving)
        with _alive():
            sandbox.farewell.open()
        await recording
        await saving
    return sandbox


async def take_over(
    engine: Engine, watcher: Watcher, request: Request, container: str, cleanup: AsyncExitStack
) -> Sandbox:
    """A sandbox that an earlier daemon launched and that runs still: opened and attested as at its launch.

    What it wrote meanwhile is lost, and its input has ended.
    """
    cleanup.push_async_callback(engine.remove, container)
    watcher.expect(_expected(request, container))
    cleanup.push_async_callback(watcher.ended, container)
    inspected = await engine.inspect(container)
    stream = await engine.attach(container, tty=request.subject.options.tty)
    cleanup.push_async_callback(stream.close)
    sandbox = _open(request, container, int(inspected["State"]["Pid"]), stream, cleanup)
    await _attest(request, sandbox, inspected["Image"])
    sandbox.farewell.open()
    if request.subject.egress is not None:
        await watcher.confine(container, sandbox.pid, request.subject.egress)
    if inspected["State"]["Paused"]:
        sandbox.state = State.PAUSED
    return sandbox


def _expected(request: Request, container: str) -> Expectation:
    subject = request.subject
    return of_launched(container, subject.body, request.trail.sandbox_id, subject.options, subject.profile)


async def _confirm(engine: Engine, request: Request) -> None:
    """Beside the start, which takes longer; what was created is the image's id. Raises ImageMoved."""
    if not request.from_memory:
        return
    name = request.subject.options.image
    with tracing.span("sandbox.image.confirm", {"container.image.name": name}):
        try:
            image = await engine.image(name)
        except ImageNotFound as error:
            raise ImageMoved(name) from error
        if image != request.subject.image:
            raise ImageMoved(name)


async def _dial(engine: Engine, cleanup: AsyncExitStack) -> Connection:
    """While the engine is busy with the container: it is attached to as soon as there is one."""
    connection = await engine.dial()
    cleanup.callback(connection[1].transport.abort)
    return connection


async def _create(engine: Engine, request: Request, cleanup: AsyncExitStack) -> str:
    body = {**request.subject.body, "Labels": {**request.subject.body["Labels"], **request.labels}}
    try:
        container = await engine.create(body, f"container-kit-{request.trail.sandbox_id}")
    except EngineError as error:
        if error.status == 404 and request.from_memory:
            raise ImageMoved(request.subject.options.image) from error
        raise
    cleanup.push_async_callback(engine.remove, container)
    return container


async def _start(engine: Engine, container: str, ready: asyncio.Event) -> None:
    """Once init is in, the engine's trouble with its own answer is no longer the sandbox's."""
    try:
        await engine.start(container)
    except EngineError as error:
        if not ready.is_set():
            raise
        log.warning("the engine failed a start that had happened", container=container, reason=str(error))


async def _record_start(engine: Engine, request: Request, container: str) -> None:
    """Raises ImageMoved: then nothing is said to have started."""
    await _confirm(engine, request)
    details = _started(request, container)
    await request.trail.record(EventType.EXECUTION_STARTED, Severity.LOW, "allowed", details)


def _save(records: AdoptionRecords, request: Request, container: str) -> None:
    """Without it the sandbox ends with this daemon, should that be killed: no reason not to run it."""
    _, span_id = tracing.ids(tracing.current())
    record = AdoptionRecord(
        sandbox_id=request.trail.sandbox_id,
        session_id=request.trail.session_id,
        trace_id=request.trail.trace_id,
        span_id=span_id,
        owner=request.actor,
        container_id=container,
        options=request.subject.options,
        report=request.report,
    )
    try:
        records.save(record)
    except OSError as error:
        log.warning("sandbox could not be adopted later", sandbox_id=record.sandbox_id, reason=str(error))


async def _first_process(began: asyncio.Future[int], arriving: asyncio.Task[None]) -> int | None:
    """Its pid, from the sensor that saw our init take its place; None if its own word was all, or faster.

    The sensor is 1.5 ms ahead, and from then on the process is what it will be: it may be looked at.
    """
    either: tuple[asyncio.Future[Any], ...] = (began, arriving)
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not arriving.done():
        return began.result()
    await arriving
    return None


async def _listening(sandbox: Sandbox, arriving: asyncio.Task[None]) -> None:
    """Its word is a millisecond on its way through the engine; what it stands for can be seen at once."""
    if not arriving.done() and awaits_go(sandbox.pid):
        arriving.cancel()
        await asyncio.wait([arriving])
        sandbox.stream.begin_with(init.READY)
    else:
        await arriving


async def _ready(engine: Engine, stream: Stream, ready: asyncio.Event) -> None:
    async with asyncio.timeout(READY_DEADLINE_S):
        word = await stream.first_byte()
    ready.set()
    if not word:
        await engine.ping()  # an engine that is gone takes the stream with it
    if word != init.READY:
        raise EngineError("the sandbox's init did not start: is the program's folder readable by the engine?")


def _open(request: Request, container: str, pid: int, stream: Stream, cleanup: AsyncExitStack) -> Sandbox:
    """The pidfd first: from then on `pid` is this process or none."""
    options = request.subject.options
    pidfd = os.pidfd_open(pid)
    cleanup.callback(os.close, pidfd)
    farewell = cleanup.enter_context(closing(Farewell(pid)))
    cgroup = cleanup.enter_context(Cgroup.of_pid(pid))
    return Sandbox(
        id=request.trail.sandbox_id,
        session_id=request.trail.session_id,
        options=options,
        owner=request.actor,
        trail=request.trail,
        report=request.report,
        container_id=container,
        pid=pid,
        stream=stream,
        workspace=cleanup.enter_context(Workspace.open(pid, WORKSPACE, options.user, options.group)),
        cgroup=cgroup,
        limits=cgroup.limits(),
        pidfd=pidfd,
        farewell=farewell,
        output=OutputLog(options.limits.output),
        durations_ms=request.durations_ms,
        ended_by_throttling=request.subject.profile.on_throttling.value == "kill",
    )


@contextmanager
def _alive() -> Iterator[None]:
    """What of the first process can no longer be found is its end, and no error of ours."""
    try:
        yield
    except (OSError, CgroupGone) as error:
        raise EngineError("the sandbox's first process ended before its program could run") from error


async def _attest(request: Request, sandbox: Sandbox, image_id: str) -> None:
    """Raises AttestationError, after an audit event that names each difference."""
    found = _differences(request, sandbox, image_id)
    if not found:
        return
    details = {"differences": found, "image": sandbox.options.image}
    await request.trail.record(EventType.SECURITY_VIOLATION, Severity.CRITICAL, "killed", details)
    raise AttestationError(found)


def _differences(request: Request, sandbox: Sandbox, image_id: str) -> list[str]:
    seen = attest.observe(sandbox.pid, sandbox.limits)
    found = [str(difference) for difference in attest.differences(request.subject.body, seen)]
    if image_id != request.subject.image.id:
        found.append(f"image is {image_id}, asked for {request.subject.image.id}")
    if sandbox.container_id not in (cgroup := sandbox.cgroup.directories["pids"].path.name):
        found.append(f"cgroup is {cgroup}, asked for one of container {sandbox.container_id}")
    return found


def _started(request: Request, container: str) -> dict[str, Any]:
    options, report = request.subject.options, request.report
    return {
        "image": options.image,
        "image_id": report.image_id,
        "profile": options.profile,
        "risk_level": report.risk_level,
        "report_id": report.id,
        "container_id": container,
        "command": [part[:256] for part in (options.command + options.args)[:64]],
    }


def _write_files(workspace: Workspace, options: SandboxOptions) -> None:
    for path, file in options.files.items():
        workspace.write(path, file.data(), file.mode)

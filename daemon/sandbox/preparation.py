"""From a judged request to a sandbox in which only the go is missing.

Its EXECUTION_STARTED is written ahead: the disk has it before the program can run, and while the engine is
busy anyway. A sandbox that then comes to nothing has a second event that says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from daemon import tracing
from daemon.audit.record import Actor, EventType
from daemon.audit.trail import Trail
from daemon.errors import AttestationError, EngineError, ImageNotFound
from daemon.expectation import Expectation
from daemon.findings import Severity
from daemon.sandbox import attest
from daemon.sandbox.adoption import AdoptionRecord, AdoptionRecords
from daemon.sandbox.cgroup import Cgroup, CgroupGone, Limits
from daemon.sandbox.checks import Subject
from daemon.sandbox.clock import timed
from daemon.sandbox.engine import Engine
from daemon.sandbox.expected import of_launched
from daemon.sandbox.farewell import Farewell, awaits_go, in_place, ready
from daemon.sandbox.first_process import first_pid
from daemon.sandbox.hostconfig import WORKSPACE
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.output import OutputLog
from daemon.sandbox.pipes import Pipes
from daemon.sandbox.report import SecurityReport
from daemon.sandbox.sandbox import Sandbox, State
from daemon.sandbox.stream import Stream
from daemon.sandbox.watcher import Watcher
from daemon.sandbox.workspace import Workspace
from daemon.tasks import to_its_end, together

UNSEEN = 0
"""No pid."""

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
    our init is in its place, and by then the runtime has applied all that it will ever apply.
    """
    # Before the caller knows of it: who has an id finds its sandbox again after a crash.
    cleanup.callback(records.remove, request.trail.sandbox_id)
    saving = tasks.create_task(to_its_end(_save, records, request))
    begun = await begin(engine, watcher, request, cleanup, tasks)
    with timed(request.durations_ms, "start"), tracing.span("sandbox.start"):
        recording = tasks.create_task(record_start(engine, request, begun.container))
        pid = await arrival(engine, watcher, request, begun)
    sandbox = await admit(request, begun, pid, cleanup)
    if request.subject.egress is not None:
        await watcher.confine(begun.container, sandbox.pid, request.subject.egress)
    if request.subject.options.files:
        await asyncio.to_thread(_write_files, sandbox.workspace, request.subject.options)
    await recording
    await saving
    return sandbox


@dataclass(frozen=True, slots=True)
class Begun:
    """A container whose start is under way, and what is asked about it meanwhile."""

    container: str
    terminal: Stream | None
    starting: asyncio.Task[None]
    identifying: asyncio.Task[str]
    arrived: asyncio.Event
    """Set once its first process is known."""


async def begin(
    engine: Engine, watcher: Watcher, request: Request, cleanup: AsyncExitStack, tasks: asyncio.TaskGroup
) -> Begun:
    with timed(request.durations_ms, "create"), tracing.span("sandbox.create") as span:
        container = await _create(engine, request, cleanup)
        span.set_attributes({"container.id": container, "container.runtime.name": "docker"})
        terminal = await _terminal(engine, request, container, cleanup)
    arrived = asyncio.Event()
    starting = tasks.create_task(_start(engine, container, arrived))
    await asyncio.sleep(0)  # it is on its way: the rest is done in time, which takes the engine long
    watcher.expect(_expected(request, container))
    cleanup.push_async_callback(watcher.ended, container)
    identifying = tasks.create_task(engine.image_of(container))
    return Begun(container, terminal, starting, identifying, arrived)


async def arrival(engine: Engine, watcher: Watcher, request: Request, begun: Begun) -> int:
    """The pid of its first process, once there is one."""
    pid = await _first_process(engine, watcher.began(begun.container), begun, request.subject)
    begun.arrived.set()
    return pid


async def admit(request: Request, begun: Begun, pid: int, cleanup: AsyncExitStack) -> Sandbox:
    """Attested, and opened for use. Raises AttestationError, EngineError."""
    with timed(request.durations_ms, "attest"), tracing.span("sandbox.attest"), _alive():
        first = _first(pid, cleanup)
        await in_place(pid, first.pidfd)
        await _attest(request, begun.container, first, await begun.identifying)
        await ready(pid, first.pidfd)
        return _open(request, begun.container, first, begun.terminal, cleanup)


async def awaken(
    engine: Engine,
    watcher: Watcher,
    records: AdoptionRecords,
    request: Request,
    spare: Sandbox,
    cleanup: AsyncExitStack,
) -> Sandbox:
    """A spare becomes the sandbox that was asked for, attested anew: only the go is missing.

    Raises EngineError: it has ended.
    """
    container = spare.container_id
    cleanup.callback(records.remove, request.trail.sandbox_id)
    watcher.expect(_expected(request, container))
    async with together() as tasks:
        tasks.create_task(to_its_end(_save, records, request))
        tasks.create_task(record_start(engine, request, container, spare=True))
        with timed(request.durations_ms, "attest"), tracing.span("sandbox.attest"), _alive():
            first = _First(spare.pid, spare.pidfd, spare.cgroup, spare.cgroup.limits())
            await _attest(request, container, first, request.subject.image.id)
        if request.subject.options.files:
            await asyncio.to_thread(_write_files, spare.workspace, request.subject.options)
    return _sandbox(request, container, first, (spare.stream, spare.workspace, spare.farewell))


async def take_over(
    engine: Engine, watcher: Watcher, request: Request, container: str, cleanup: AsyncExitStack
) -> Sandbox:
    """A sandbox that an earlier daemon launched and that runs still: opened and attested as at its launch.

    Its input has ended; what it wrote meanwhile is there still, but what it wrote to a terminal is lost.
    Raises EngineError, AttestationError, ConfinementError.
    """
    cleanup.push_async_callback(engine.remove, container)
    watcher.expect(_expected(request, container))
    cleanup.push_async_callback(watcher.ended, container)
    inspected = await engine.inspect(container)
    terminal = await _terminal(engine, request, container, cleanup)
    with _alive():
        first = _first(int(inspected["State"]["Pid"]), cleanup)
        await _attest(request, container, first, inspected["Image"])
        if awaits_go(first.pid):
            raise EngineError("its program had not begun: launch it again")
        sandbox = _open(request, container, first, terminal, cleanup)
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


async def _terminal(
    engine: Engine, request: Request, container: str, cleanup: AsyncExitStack
) -> Stream | None:
    """Before the start, which holds the engine's lock on the container: what is written meanwhile is lost."""
    if not request.subject.options.tty:
        return None
    stream = await engine.attach(container, tty=True)
    cleanup.push_async_callback(stream.close)
    return stream


async def _create(engine: Engine, request: Request, cleanup: AsyncExitStack) -> str:
    body = {**request.subject.body, "Labels": {**request.subject.body["Labels"], **request.labels}}
    try:
        container = await _created(engine, body, f"container-kit-{request.trail.sandbox_id}")
    except EngineError as error:
        if error.status == 404 and request.from_memory:
            raise ImageMoved(request.subject.options.image) from error
        raise
    cleanup.push_async_callback(engine.remove, container)
    return container


async def _created(engine: Engine, body: dict[str, Any], name: str) -> str:
    """To its end, also when nobody waits any more: the engine makes it all the same, and it has to go."""
    creation = asyncio.ensure_future(engine.create(body, name))
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        with suppress(EngineError):
            await engine.remove(await creation)
        raise


async def _start(engine: Engine, container: str, arrived: asyncio.Event) -> None:
    """Once init is in, the engine's trouble with its own answer is no longer the sandbox's."""
    try:
        await engine.start(container)
    except EngineError as error:
        if not arrived.is_set():
            raise
        log.warning("the engine failed a start that had happened", container=container, reason=str(error))


async def record_start(engine: Engine, request: Request, container: str, *, spare: bool = False) -> None:
    """Raises ImageMoved: then nothing is said to have started."""
    await _confirm(engine, request)
    details = _started(request, container) | ({"spare": True} if spare else {})
    await request.trail.record(EventType.EXECUTION_STARTED, Severity.LOW, "allowed", details)


def _save(records: AdoptionRecords, request: Request) -> None:
    """Without it the sandbox ends with this daemon, should that be killed: no reason not to run it."""
    _, span_id = tracing.ids(tracing.current())
    record = AdoptionRecord(
        sandbox_id=request.trail.sandbox_id,
        session_id=request.trail.session_id,
        trace_id=request.trail.trace_id,
        span_id=span_id,
        owner=request.actor,
        options=request.subject.options,
        report=request.report,
    )
    try:
        records.save(record)
    except OSError as error:
        log.warning("sandbox could not be adopted later", sandbox_id=record.sandbox_id, reason=str(error))


async def _first_process(engine: Engine, began: asyncio.Future[int], begun: Begun, subject: Subject) -> int:
    """Its pid, from the sensor that saw our init take its place, or where none did from the engine.

    The sensor is 2 ms ahead, and from then on the process is what it will be: it may be looked at.
    """

    def started(_: object) -> None:
        if not began.done():
            began.set_result(UNSEEN)

    begun.starting.add_done_callback(started)
    if (seen := await began) != UNSEEN:
        return seen
    await begun.starting
    if (pid := first_pid(begun.container, subject.engine)) is not None:
        return pid
    return int((await engine.inspect(begun.container))["State"]["Pid"])


@dataclass(frozen=True, slots=True)
class _First:
    """The first process: `pid` is this one or none for as long as `pidfd` is open."""

    pid: int
    pidfd: int
    cgroup: Cgroup
    limits: Limits


def _first(pid: int, cleanup: AsyncExitStack) -> _First:
    pidfd = os.pidfd_open(pid)
    cleanup.callback(os.close, pidfd)
    cgroup = cleanup.enter_context(Cgroup.of_pid(pid))
    return _First(pid, pidfd, cgroup, cgroup.limits())


def _open(
    request: Request, container: str, first: _First, terminal: Stream | None, cleanup: AsyncExitStack
) -> Sandbox:
    """What was attested: only now is anything of the process opened for use."""
    options, pid = request.subject.options, first.pid
    stream = terminal or Pipes(pid)
    cleanup.push_async_callback(stream.close)
    workspace = cleanup.enter_context(Workspace.open(pid, WORKSPACE, options.user, options.group))
    farewell = cleanup.enter_context(closing(Farewell(pid)))
    return _sandbox(request, container, first, (stream, workspace, farewell))


def _sandbox(
    request: Request, container: str, first: _First, opened: tuple[Stream, Workspace, Farewell]
) -> Sandbox:
    options = request.subject.options
    stream, workspace, farewell = opened
    return Sandbox(
        id=request.trail.sandbox_id,
        session_id=request.trail.session_id,
        options=options,
        owner=request.actor,
        trail=request.trail,
        report=request.report,
        container_id=container,
        pid=first.pid,
        stream=stream,
        workspace=workspace,
        cgroup=first.cgroup,
        limits=first.limits,
        pidfd=first.pidfd,
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


async def _attest(request: Request, container: str, first: _First, image_id: str) -> None:
    """Raises AttestationError, after an audit event that names each difference."""
    found = _differences(request, container, first, image_id)
    if not found:
        return
    details = {"differences": found, "image": request.subject.options.image}
    await request.trail.record(EventType.SECURITY_VIOLATION, Severity.CRITICAL, "killed", details)
    raise AttestationError(found)


def _differences(request: Request, container: str, first: _First, image_id: str) -> list[str]:
    seen = attest.observe(first.pid, first.limits)
    found = [str(difference) for difference in attest.differences(request.subject.body, seen)]
    if image_id != request.subject.image.id:
        found.append(f"image is {image_id}, asked for {request.subject.image.id}")
    cgroup, parent = first.cgroup.directories["pids"].path, request.subject.body["HostConfig"]["CgroupParent"]
    if container not in cgroup.name or cgroup.parent.name != parent.lstrip("/"):
        found.append(f"cgroup is {cgroup}, asked for one of container {container} in {parent}")
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

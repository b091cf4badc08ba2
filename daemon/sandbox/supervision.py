"""A sandbox from its go to its end: input, output, limits, and the exit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from daemon import tracing
from daemon.audit.record import EventType
from daemon.errors import EngineError, EngineUnavailable
from daemon.findings import Severity
from daemon.sandbox import resources
from daemon.sandbox.cgroup import CgroupGone, Usage
from daemon.sandbox.engine import Engine
from daemon.sandbox.killing import kill
from daemon.sandbox.oom import watch_oom
from daemon.sandbox.result import ExecutionResult
from daemon.sandbox.sandbox import Sandbox
from daemon.sandbox.stillness import Stillness
from daemon.sandbox.watcher import Watcher
from daemon.tasks import to_its_end
from daemon.ticks import tick

FIRST_SAMPLE_INTERVAL_S = 0.02
SAMPLE_INTERVAL_S = 0.5
OUTPUT_DRAIN_S = 2.0
KILL_DEADLINE_S = 30.0
ENGINE_AWAY_S, ENGINE_RETRY_S = 10.0, 0.25
AT_START = Usage(0, 0, 0, 0, 0, 0, 0)  # counters begin with the cgroup: what came before a sample counts
OOM_MESSAGE = "container killed: memory limit exceeded"
THROTTLED_MESSAGE = "container killed: CPU limit held for too long"


async def supervise(
    engine: Engine, sandbox: Sandbox, watcher: Watcher, stillness: Stillness
) -> ExecutionResult:
    """Returns when it has ended and what it wrote was read. Raises EngineError, AuditError."""
    samples = _Samples(sandbox, watcher, stillness)
    with _readable(sandbox.pidfd, samples.exited), closing(sandbox.farewell):
        sandbox.farewell.listen(samples.last)
        status = await _until_exit(engine, sandbox, samples)
    for excess in samples.found_last:
        await _exceeded(sandbox, excess.kind, excess.limit, excess.message)
    sandbox.durations_ms["run"] = (time.monotonic() - sandbox.started_s) * 1000
    sandbox.oom_killed = await _oom_killed(engine, sandbox, samples)
    if sandbox.oom_killed:
        sandbox.message = OOM_MESSAGE
        await _exceeded(sandbox, "memory", sandbox.options.limits.memory, OOM_MESSAGE)
    return sandbox.outcome(status, sandbox.message, samples.usage)


async def _oom_killed(engine: Engine, sandbox: Sandbox, samples: _Samples) -> bool:
    """By the kernel's count; by the engine's word where the cgroup went before the last count was read."""
    if samples.complete or samples.oom_kills() > 0:
        return samples.oom_kills() > 0
    return bool((await engine.inspect(sandbox.container_id))["State"]["OOMKilled"])


async def _until_exit(engine: Engine, sandbox: Sandbox, samples: _Samples) -> int:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_oom(sandbox))
        beside = [tasks.create_task(w) for w in (_give_input(sandbox), _sample(engine, sandbox, samples))]
        output = tasks.create_task(_read_output(sandbox))
        status = await _exit_status(engine, sandbox, samples.ended)
        await asyncio.wait([output], timeout=OUTPUT_DRAIN_S)
        for task in (*beside, output):
            task.cancel()
    return status


async def _exit_status(engine: Engine, sandbox: Sandbox, ended: asyncio.Event) -> int:
    """The engine is asked once the kernel has told the end: no call to it lasts as long as a sandbox."""
    limit_s = sandbox.options.limits.timeout_s
    left_s = sandbox.started_s + limit_s - time.monotonic()
    try:
        async with asyncio.timeout(left_s):
            await ended.wait()
    except TimeoutError:
        await _time_out(engine, sandbox, limit_s)
        async with asyncio.timeout(KILL_DEADLINE_S):
            await ended.wait()
    return await _status(engine, sandbox)


async def _status(engine: Engine, sandbox: Sandbox) -> int:
    """The engine may be away for a moment, as while it is restarted. Raises EngineError."""
    end_s = time.monotonic() + ENGINE_AWAY_S
    while True:
        try:
            return await engine.wait(sandbox.container_id)
        except EngineUnavailable:
            if time.monotonic() > end_s:
                raise
        await asyncio.sleep(ENGINE_RETRY_S)


async def _time_out(engine: Engine, sandbox: Sandbox, limit_s: float) -> None:
    sandbox.timed_out = True
    sandbox.message = f"container killed: time limit of {limit_s:g} s exceeded"
    await _kill(engine, sandbox)
    await _exceeded(sandbox, "timeout", limit_s, sandbox.message)


async def _kill(engine: Engine, sandbox: Sandbox) -> None:
    """Of one that could not be killed its end is still waited for."""
    with suppress(EngineError):
        await kill(engine, sandbox)


async def _read_output(sandbox: Sandbox) -> None:
    """To the end of the stream, also past the limit: a full pipe would hold the program up."""
    reported = False
    async for output in sandbox.stream.outputs():
        if not sandbox.output.append(output) and not reported:
            reported = True
            limit, name = sandbox.options.limits.output, output.channel.name.lower()
            await _exceeded(sandbox, "output", limit, f"output beyond {limit} bytes of {name} dropped")


async def _give_input(sandbox: Sandbox) -> None:
    """Beside the run: a program that does not read must not hold up its launch, nor its end fail it."""
    with suppress(ConnectionError):
        if sandbox.options.stdin is not None:
            await sandbox.stream.write(sandbox.options.stdin.encode())
        if not sandbox.options.interactive:
            sandbox.stream.end_input()


async def _watch_oom(sandbox: Sandbox) -> None:
    """In a thread and after the start: under cgroup v1 the kernel takes about 7 ms to register a watch."""
    await asyncio.sleep(FIRST_SAMPLE_INTERVAL_S)  # the last sample has the count of who ends sooner
    try:
        await to_its_end(_register, sandbox)
    except CgroupGone:
        return  # it ended sooner; the sample taken at its exit has the count
    if sandbox.oom is not None:
        asyncio.get_running_loop().add_reader(sandbox.oom.fileno(), sandbox.oom.killed)


def _register(sandbox: Sandbox) -> None:
    sandbox.oom = watch_oom(sandbox.cgroup)


async def _sample(engine: Engine, sandbox: Sandbox, samples: _Samples) -> None:
    """Until the cgroup is gone. Each kind of excess is reported once a sandbox."""
    with suppress(CgroupGone):
        while True:
            await samples.next()
            for excess in samples.due():
                await _exceeded(sandbox, excess.kind, excess.limit, excess.message)
                if excess.kind == resources.ExceededKind.CPU and sandbox.ended_by_throttling:
                    await _end_throttled(engine, sandbox)


async def _end_throttled(engine: Engine, sandbox: Sandbox) -> None:
    sandbox.killed = True
    sandbox.message = sandbox.message or THROTTLED_MESSAGE
    await _kill(engine, sandbox)


async def _exceeded(sandbox: Sandbox, kind: str, limit: float, message: str) -> None:
    details = {"kind": kind, "limit": limit, "message": message}
    tracing.note("limit exceeded", {"container_kit.limit.kind": kind, "container_kit.limit.value": limit})
    await sandbox.trail.record(EventType.RESOURCE_LIMIT_EXCEEDED, Severity.MEDIUM, "limited", details)


class _Samples:
    """Of one sandbox's usage: the first soon, for a short run; later ones half a second apart, while it runs.

    The watching half is told each time that a limit was hit anew, and judges that among all it sees.

    `complete` says that the last one was taken when the program had ended: nothing is missing in it.
    """

    def __init__(self, sandbox: Sandbox, watcher: Watcher, stillness: Stillness) -> None:
        self._sandbox, self._watcher, self._stillness = sandbox, watcher, stillness
        self._seen: set[str] = set()
        self._progress = resources.Progress(AT_START)
        self.usage: Usage | None = None
        self.found_last: list[resources.Exceeded] = []
        self.complete = False
        self.ended = asyncio.Event()
        self._interval_s = FIRST_SAMPLE_INTERVAL_S
        self._idle = False

    async def next(self) -> None:
        """Returns when the next one is due."""
        if self._idle:
            await self._stillness.over(self._sandbox.cgroup.shared_cpu_time)
        else:
            await tick(self._interval_s)

    def due(self) -> list[resources.Exceeded]:
        """Of a new one; while none of its programs runs the last one stands. Raises CgroupGone."""
        self._interval_s = min(self._interval_s * 2, SAMPLE_INTERVAL_S)
        self._idle = self.usage is not None and self._sandbox.cgroup.cpu_ns() == self.usage.cpu_ns
        return [] if self._idle else self.take()

    def take(self) -> list[resources.Exceeded]:
        """What was exceeded for the first time; memory is the OOM watch's to tell. Raises CgroupGone."""
        self.usage = self._sandbox.cgroup.usage()
        self._sandbox.usage = self.usage
        hit = self._progress.exceeded(self.usage, self._sandbox.limits)
        full = self._new(resources.workspace_exceeded(self._sandbox.workspace.statvfs()))
        for excess in (*hit, *full):
            self._watcher.limited(self._sandbox.container_id, self._sandbox.pid, excess)
        return self._new(e for e in hit if e.kind != resources.ExceededKind.MEMORY) + full

    def _new(self, exceeded: Iterable[resources.Exceeded]) -> list[resources.Exceeded]:
        new = [excess for excess in exceeded if excess.kind not in self._seen]
        self._seen.update(excess.kind for excess in new)
        return new

    def last(self) -> None:
        """The program has ended, and pid 1 waits for us; or it was killed, and the cgroup may be gone."""
        try:
            self.oom_kills()
            with suppress(CgroupGone):
                self.found_last = self.take()
                self.complete = True
        finally:
            self._sandbox.farewell.close()  # what is told by it would be told for ever

    def exited(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sandbox.pidfd)
        try:
            if not self._sandbox.farewell.closed:
                self.last()
        finally:
            self.ended.set()

    def oom_kills(self) -> int:
        """By the watch or by the last sample: an OOM may come before the one stands or after the other."""
        watched = self._sandbox.oom.killed() if self._sandbox.oom else 0
        return max(watched, self.usage.oom_kills if self.usage else 0)


@contextmanager
def _readable(descriptor: int, callback: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, callback)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)

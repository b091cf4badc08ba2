"""Which containers are watched, and what each of them may be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from daemon.confinement import Confinement
from daemon.errors import EngineError
from daemon.events import ProcessExecuted
from daemon.expectation import Expectation
from daemon.ledger import Ledger
from daemon.pipeline import Pipeline
from daemon.sandbox import init, on_disk
from daemon.sandbox.egress import EgressPolicy
from daemon.sandbox.engine import Engine
from daemon.sandbox.expected import of_inspected
from daemon.sandbox.resources import Exceeded, ExceededKind
from daemon.sensing import Sensing
from daemon.sensors.limits import limit_reached

WATCH_LABEL = "container-kit.watch"
RETRY_S = 1.0
LATE_S = 0.2
PATIENCE_S = 0.01
"""The engine answers in two milliseconds for a container that it is not busy with."""
FORGET_AFTER_S = 5.0
GONE_REMEMBERED = 4096
NO_SUCH_CONTAINER = 404
OUT_OF_MEMORY = Exceeded(ExceededKind.MEMORY, limit=0, used=0, message="")
"""The engine hears of it at once; a sample of the counters is late for a container that dies of it."""

log = structlog.get_logger()


class Mode(StrEnum):
    """What the daemon launched; also what carries the label; every container of the engine."""

    MANAGED = "managed"
    LABELLED = "labelled"
    ALL = "all"


async def _nothing(_: str) -> None:
    return


class Watch:
    """The launching half tells of its own sandboxes; of others the engine does, from their creation on."""

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        sensing: Sensing,
        ledger: Ledger,
        confinement: Confinement,
        mode: Mode,
    ) -> None:
        self.mode = mode
        self.on_ending: Callable[[str], Awaitable[None]] = _nothing
        """Who has yet to read of a container holds its removal up."""
        self._sensing = sensing
        self._engine = engine
        self._pipeline = pipeline
        self._ledger = ledger
        self._tasks: asyncio.TaskGroup | None = None
        self._confinement = confinement
        self._beginnings: dict[str, asyncio.Future[int]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Ids of which the engine said that they do not exist; it gives none twice. Bounded."""
        self._engine_root: Path | None = None
        self._late = asyncio.Event()
        """Some container has sent events and is not expected yet."""
        pipeline.on_hold = self._late.set
        self._trouble = ""
        """Why the engine could not be asked, as it was last told."""

    def expect(self, sandbox: Expectation) -> None:
        self._pipeline.expect(sandbox)

    def began(self, container_id: str) -> asyncio.Future[int]:
        return self._beginnings.setdefault(container_id, asyncio.get_running_loop().create_future())

    def executed(self, event: ProcessExecuted) -> None:
        began = self._beginnings.get(event.sandbox)
        if began is not None and not began.done() and event.file.path == init.MOUNT_POINT:
            began.set_result(event.process.pid)

    def entering(self, container_id: str, *, allowed: bool) -> None:
        if (expected := self._pipeline.expected(container_id)) is not None:
            self._pipeline.expect(replace(expected, exec_allowed=allowed))

    async def confine(self, container_id: str, pid: int, policy: EgressPolicy) -> None:
        await self._confinement.confine(container_id, pid, policy)

    def limited(self, container_id: str, pid: int, excess: Exceeded) -> None:
        self._pipeline.feed([limit_reached(container_id, pid, excess)])

    async def ending(self, container_id: str) -> None:
        self._sensing.flush()
        await self.on_ending(container_id)

    async def ended(self, container_id: str) -> list[dict[str, Any]]:
        self._beginnings.pop(container_id, None)
        self._sensing.flush()
        found = [record.model_dump(mode="json") for record in self._ledger.of(container_id)]
        self._forget_later(container_id)
        return found

    def forget(self, container_id: str) -> None:
        self._confinement.forget(container_id)
        self._sensing.forget(container_id)
        self._pipeline.forget(container_id)

    def watches(self, labels: dict[str, str]) -> bool:
        if self.mode is Mode.LABELLED:
            return labels.get(WATCH_LABEL) == "true"
        return self.mode is Mode.ALL

    async def run(self) -> None:
        """Follows the engine for as long as the daemon runs, through its restarts."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._inspect_late_ones())
            while self.mode is not Mode.MANAGED:
                with suppress(EngineError):
                    await self._follow()
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        """The subscription first, then what is there already: nothing falls between."""
        async with self._engine.events(("create", "start", "oom", "destroy")) as events:
            root_dir = (await self._engine.facts()).root_dir
            self._engine_root = Path(root_dir) if root_dir else None
            for container in await self._engine.running():
                await self._inspect(container["Id"])
            async for event in events:
                await self._hear(str(event.get("Action")), str((event.get("Actor") or {}).get("ID") or ""))

    async def _hear(self, action: str, container_id: str) -> None:
        if action == "destroy":
            self._forget_later(container_id)
        elif action == "oom":
            self._pipeline.feed([limit_reached(container_id, 0, OUT_OF_MEMORY)])
        elif self._pipeline.expected(container_id) is None:
            await self._inspect(container_id)

    async def _inspect_late_ones(self) -> None:
        """Containers whose events came before their expectation did; those of an engine that is away wait."""
        while True:
            await self._late.wait()
            await asyncio.sleep(RETRY_S if self._trouble else LATE_S)
            self._late.clear()
            for container_id in self._pipeline.waiting():
                if container_id in self._gone:
                    self._pipeline.forget(container_id)
                else:
                    await self._inspect(container_id)
            if self._pipeline.waiting():
                self._late.set()

    async def _inspect(self, container_id: str) -> None:
        try:
            inspected = await self._inspected(container_id)
        except EngineError as error:
            self._not_inspected(container_id, error)
            return
        self._trouble = ""
        labels = (inspected.get("Config") or {}).get("Labels") or {}
        if self._pipeline.expected(container_id) is not None:
            return
        if self.watches(labels):
            self._pipeline.expect(of_inspected(inspected))
        else:
            self._pipeline.ignore(container_id)

    async def _inspected(self, container_id: str) -> dict[str, Any]:
        """It is to be known what a container may be before its first instruction. Raises EngineError."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                return await self._engine.inspect(container_id)
        kept = on_disk.inspected(self._engine_root, container_id) if self._engine_root else None
        return kept or await self._engine.inspect(container_id)

    def _not_inspected(self, container_id: str, error: EngineError) -> None:
        """One that does not exist is asked for once. All else may pass: told once, and tried again."""
        if error.status == NO_SUCH_CONTAINER:
            self._trouble = ""
            log.warning("container is gone: its events are dropped", container=container_id[:12])
            self._remember_gone(container_id)
            self._pipeline.forget(container_id)
            self._forget_later(container_id)
        elif self._trouble != (reason := str(error)):
            self._trouble = reason
            log.warning("container not inspected", container=container_id[:12], reason=reason)

    def _remember_gone(self, container_id: str) -> None:
        self._gone[container_id] = None
        if len(self._gone) > GONE_REMEMBERED:
            self._gone.popitem(last=False)

    def _forget_later(self, container_id: str) -> None:
        """Its last events may still be on their way."""
        asyncio.get_running_loop().call_later(FORGET_AFTER_S, self.forget, container_id)

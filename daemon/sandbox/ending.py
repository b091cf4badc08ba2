"""The daemon's end: no launch any more, and no sandbox outlives it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from daemon.errors import EngineError
from daemon.sandbox.executor import Executor
from daemon.sandbox.sandbox import Sandbox, State

BY_KERNEL_S, BY_ENGINE_S = 3.0, 10.0
MESSAGE = "container killed: the daemon ended"


async def end_all(executor: Executor) -> None:
    """What is being launched meanwhile gets no go. One that cannot be killed is given up, its files stay."""
    executor.stopping = True
    async with asyncio.TaskGroup() as tasks:
        for sandbox in executor.registry.running():
            tasks.create_task(_end(executor, sandbox))
    for sandbox in list(executor.registry):
        if sandbox.state is State.ENDED:
            executor.registry.forget(sandbox)


async def _end(executor: Executor, sandbox: Sandbox) -> None:
    """By the kernel, so without the engine, which must help where it is paused."""
    executor.kill_now(sandbox, MESSAGE)
    if sandbox.state is State.PAUSED or not await _has_ended(sandbox, BY_KERNEL_S):
        with suppress(EngineError):
            await executor.kill(sandbox)
        await _has_ended(sandbox, BY_ENGINE_S)


async def _has_ended(sandbox: Sandbox, deadline_s: float) -> bool:
    done, _ = await asyncio.wait([sandbox.result], timeout=deadline_s)
    return bool(done)

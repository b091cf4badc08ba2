"""A sandbox is ended by force: by the kernel, which needs nobody, and else by the engine."""

from __future__ import annotations

from daemon.sandbox.engine import Engine
from daemon.sandbox.sandbox import Sandbox, State


async def kill(engine: Engine, sandbox: Sandbox) -> None:
    """Raises EngineError: it is paused, or CAP_KILL is missing, and the engine does not help."""
    if sandbox.kill_first_process() and sandbox.state is not State.PAUSED:
        return
    if sandbox.state is State.PAUSED:
        await engine.unpause(sandbox.container_id)
        sandbox.becomes(State.RUNNING)
    await engine.kill(sandbox.container_id)

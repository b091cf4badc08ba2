"""One more program in a running sandbox: as its user, under its filter, within its limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from pydantic import Field

from daemon.api.access import Access, record_access
from daemon.api.presence import while_connected
from daemon.api.problem_types import (
    AUDIT_UNAVAILABLE,
    ENGINE_REFUSED,
    ENGINE_UNAVAILABLE,
    NOT_PERMITTED,
    OF_BODIES,
    OF_ONE_SANDBOX,
    SANDBOX_ENDED,
    WRONG_STATE,
)
from daemon.api.routes import Route, parse
from daemon.api.states import ended, expect
from daemon.api.streaming import IN_LINES, LINES, lines, output_line, send_line
from daemon.errors import EngineError, PolicyError
from daemon.sandbox.environment import permitted
from daemon.sandbox.executor import Executor
from daemon.sandbox.options import EnvironmentName, Path, Strict, Text
from daemon.sandbox.profile import Profile
from daemon.sandbox.sandbox import Sandbox, State
from daemon.sandbox.stream import Stream

EXIT_POLL_S = 0.02
RECORDED_ARGUMENTS = 64
RECORDED_CHARACTERS = 256


class ExecOptions(Strict):
    """Its user, limits and confinement are the sandbox's: there is no option for them."""

    command: list[Text] = Field(min_length=1, max_length=4096)
    env: dict[EnvironmentName, Text] = Field(default={}, max_length=256)
    working_dir: Path = "/workspace"


class Exec:
    def __init__(self, executor: Executor, access: Access) -> None:
        self._executor = executor
        self._access = access
        self._under_way: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/sandboxes/{id}/exec",
                self.exec,
                "Run one more program in it",
                ExecOptions,
                content_type=LINES,
                description=f'The last line is {{"exit_code": number}}. {IN_LINES}',
                errors=(
                    *OF_ONE_SANDBOX,
                    *OF_BODIES,
                    NOT_PERMITTED,
                    SANDBOX_ENDED,
                    WRONG_STATE,
                    ENGINE_REFUSED,
                    ENGINE_UNAVAILABLE,
                    AUDIT_UNAVAILABLE,
                ),
            )
        ]

    async def exec(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request)
        sandbox = self._access.sandbox(caller, request.match_info["id"])
        options = await parse(request, ExecOptions)
        expect(sandbox, State.RUNNING)
        _check(options, self._executor.profiles.get(sandbox.options.profile))
        await record_access(caller, sandbox, "exec", command=_recorded(options.command))
        with self._announced(sandbox.container_id):
            exec_id, stream = await self._start(sandbox, options)
            try:
                async with while_connected(request), lines(request) as response:
                    async for output in stream.outputs():
                        await send_line(response, output_line(output))
                    await send_line(response, {"exit_code": await self._exit_code(exec_id)})
            finally:
                await stream.close()
        return response

    @contextmanager
    def _announced(self, container_id: str) -> Iterator[None]:
        """The sensors take a program from outside for a break-in, unless they were told of it."""
        self._under_way[container_id] += 1
        self._executor.watcher.entering(container_id, allowed=True)
        try:
            yield
        finally:
            self._under_way[container_id] -= 1
            if not self._under_way[container_id]:
                del self._under_way[container_id]
                self._executor.watcher.entering(container_id, allowed=False)

    async def _start(self, sandbox: Sandbox, options: ExecOptions) -> tuple[str, Stream]:
        watcher = self._executor.watcher
        watcher.entering(sandbox.container_id, allowed=True)
        try:
            return await self._executor.engine.exec(sandbox.container_id, _config(sandbox, options))
        except EngineError as error:
            if error.status in {404, 409}:  # it ended since it was looked at
                raise ended() from error
            raise

    async def _exit_code(self, exec_id: str) -> int:
        """The program may have closed its output long before its end."""
        # The engine tells it only to who asks.
        while (code := await self._executor.engine.exec_exit_code(exec_id)) is None:  # noqa: ASYNC110
            await asyncio.sleep(EXIT_POLL_S)
        return code


def _check(options: ExecOptions, profile: Profile) -> None:
    """Raises PolicyError. A launch drops such variables and says so in its report; here there is none."""
    if not profile.exec.value:
        raise PolicyError(f"profile {profile.name!r} lets only the launched program run: no exec")
    if refused := [name for name in options.env if not permitted(name, profile)]:
        raise PolicyError(f"env: profile {profile.name!r} does not pass {refused[0]}: leave it out")


def _config(sandbox: Sandbox, options: ExecOptions) -> dict[str, Any]:
    return {
        "Cmd": options.command,
        "Env": [f"{name}={value}" for name, value in options.env.items()],
        "WorkingDir": options.working_dir,
        "User": f"{sandbox.options.user}:{sandbox.options.group}",
        "Privileged": False,
        "AttachStdout": True,
        "AttachStderr": True,
    }


def _recorded(command: list[str]) -> list[str]:
    return [part[:RECORDED_CHARACTERS] for part in command[:RECORDED_ARGUMENTS]]

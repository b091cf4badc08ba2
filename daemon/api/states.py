"""What can be asked of a sandbox in which state."""

from __future__ import annotations

from daemon.api.problem_types import SANDBOX_ENDED, WRONG_STATE
from daemon.api.problems import ApiError
from daemon.sandbox.sandbox import Sandbox, State


def expect(sandbox: Sandbox, state: State) -> None:
    if sandbox.state is State.ENDED:
        raise ended()
    if sandbox.state is not state:
        raise ApiError(WRONG_STATE, f"the sandbox is {sandbox.state}, not {state}")


def ended() -> ApiError:
    return ApiError(SANDBOX_ENDED, "the sandbox has ended: fetch its result, or launch another")

"""Work on what images hold, in a thread beside the event loop, which must go on meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# How long the loop waits for such a thread at most, each time that it has something to do; 5 ms is usual.
SWITCH_INTERVAL_S = 0.0005


class _SwitchInterval:
    """Of the interpreter: short for as long as anybody needs it."""

    def __init__(self) -> None:
        self._users = 0
        self._usual_s = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        if self._users == 0:
            self._usual_s = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._usual_s)


_INTERVAL = _SwitchInterval()


async def beside(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, for what computes and does not wait."""
    with _INTERVAL.short():
        return await asyncio.to_thread(do, *args, **kwargs)

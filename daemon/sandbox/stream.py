"""What a program reads and writes, as the daemon has it in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Channel(IntEnum):
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class Output:
    channel: Channel
    data: bytes


class Stream(Protocol):
    """Of one process; close it on every path."""

    hold: Callable[[], Awaitable[None]]
    """Awaited between two pieces of output: for as long, a program that goes on writing is held up."""

    async def write(self, data: bytes) -> None:
        """Returns once it was taken up. Raises ConnectionError where nobody reads it any more."""

    def end_input(self) -> None:
        """The program reads end-of-file; its output goes on. One that has ended already is fine."""

    def outputs(self) -> AsyncIterator[Output]:
        """Until the end of both channels; what is written to one of them comes in order."""

    async def close(self) -> None:
        """Input that was not taken is dropped: to wait for its reader would be to wait for ever."""


async def go_on() -> None:
    return

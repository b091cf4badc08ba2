"""What is launched again and again: of that a spare is worth its room."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daemon.sandbox.kind import Kind, Wanted
from daemon.sandbox.options import SandboxOptions

WITHIN_S = 300.0
"""A second launch in this time is a repetition; one that was not launched for so long is none any more."""
REMEMBERED = 256
_NEUTRAL: dict[str, Any] = {
    "command": ["true"],
    "args": [],
    "env": {},
    "stdin": None,
    "files": {},
    "session_id": None,
}


@dataclass
class _Launches:
    wanted: Wanted
    last_s: float
    repeated: bool = False


class Repeats:
    """The `most` kinds that were launched twice, the newest first: one spare of each."""

    def __init__(self, most: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock_s = clock_s
        self._kinds: OrderedDict[Kind, _Launches] = OrderedDict()

    def saw(self, kind: Kind, options: SandboxOptions) -> bool:
        """A launch. True if its kind is a repeated one now, and was not before."""
        if not self.most:
            return False
        now_s = self._clock_s()
        known = self._kinds.pop(kind, None) or _Launches(Wanted(_without_its_own(options), 1), -WITHIN_S)
        repeats = now_s - known.last_s < WITHIN_S
        news = repeats and not known.repeated
        self._kinds[kind] = _Launches(known.wanted, now_s, repeats)
        if len(self._kinds) > REMEMBERED:
            self._kinds.popitem(last=False)
        return news

    def wanted(self) -> dict[Kind, Wanted]:
        since_s = self._clock_s() - WITHIN_S
        repeated = [kind for kind, one in self._kinds.items() if one.repeated and one.last_s > since_s]
        return {kind: self._kinds[kind].wanted for kind in reversed(repeated[-self.most :])}


def _without_its_own(options: SandboxOptions) -> SandboxOptions:
    """Variables, input and files may be secrets of who launched it."""
    return options.model_copy(update=_NEUTRAL)

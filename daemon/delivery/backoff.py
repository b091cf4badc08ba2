"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 0.5
MOST_S = 60.0


class Backoff:
    """Doubles up to `most_s`; the wait is a random share of it, so that many hosts do not return as one."""

    def __init__(
        self, first_s: float = FIRST_S, most_s: float = MOST_S, share: Callable[[], float] = random.random
    ) -> None:
        self._first_s, self._most_s, self._share = first_s, most_s, share
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """Between half and all of the present ceiling."""
        wait_s = self._ceiling_s * (0.5 + self._share() / 2)
        self._ceiling_s = min(self._ceiling_s * 2, self._most_s)
        return wait_s

    def reset(self) -> None:
        self._ceiling_s = self._first_s

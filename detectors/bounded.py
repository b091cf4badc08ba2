"""State over time that cannot grow: an attacker chooses how many keys it gets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SANDBOXES = 1024


class Bounded(OrderedDict[K, V]):
    """At most `limit` entries; the one written longest ago makes room."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.limit:
            self.popitem(last=False)


class PerSandbox(Generic[V]):
    """State of each sandbox, by container id: none can push out another's but by its number of sandboxes."""

    def __init__(self, new: Callable[[], V], limit: int = SANDBOXES) -> None:
        self._new = new
        self._states: Bounded[str, V] = Bounded(limit)

    def of(self, sandbox: str) -> V:
        state = self._states.pop(sandbox, None)
        self._states[sandbox] = state = self._new() if state is None else state
        return state

    def forget(self, sandbox: str) -> None:
        self._states.pop(sandbox, None)


class Recent(Generic[K]):
    """Keys with the time they were last seen; those older than `span_ns` are gone."""

    def __init__(self, span_ns: int, limit: int = 256) -> None:
        self._span_ns = span_ns
        self._seen_ns: Bounded[K, int] = Bounded(limit)

    def add(self, key: K, now_ns: int) -> int:
        """How many different keys are recent, this one included."""
        self._seen_ns[key] = now_ns
        while now_ns - next(iter(self._seen_ns.values())) > self._span_ns:
            self._seen_ns.popitem(last=False)
        return len(self._seen_ns)

    def has(self, key: K, now_ns: int) -> bool:
        seen_ns = self._seen_ns.get(key)
        return seen_ns is not None and now_ns - seen_ns <= self._span_ns

    def drop(self, key: K) -> None:
        self._seen_ns.pop(key, None)

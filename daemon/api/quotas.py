"""How much one uid may run: counted over all its sandboxes, those that are being launched included."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon.api.access import Caller
from daemon.errors import QuotaExceeded
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.sandbox import Registry
from daemon.units import format_size

MINUTE_S = 60.0


class Quotas:
    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._launches: dict[int, deque[float]] = defaultdict(deque)
        self._starting: dict[int, list[SandboxOptions]] = defaultdict(list)

    @contextmanager
    def reserved(self, caller: Caller, options: SandboxOptions) -> Iterator[None]:
        """While a launch is under way it counts as running. Raises QuotaExceeded, which names the quota."""
        self._check(caller, options)
        starting = self._starting[caller.actor.uid]
        self._launches[caller.actor.uid].append(self._clock())
        starting.append(options)
        try:
            yield
        finally:
            starting.remove(options)

    def _check(self, caller: Caller, options: SandboxOptions) -> None:
        uid, quota = caller.actor.uid, caller.rule.quota
        held = [sandbox.options for sandbox in self._registry.running(uid)] + self._starting[uid]
        self._check_rate(uid, quota.launches_per_minute)
        if len(held) >= quota.running:
            raise QuotaExceeded(f"quota: {quota.running} sandboxes may run at once: end one first")
        if sum(o.limits.memory for o in held) + options.limits.memory > quota.memory:
            raise QuotaExceeded(
                f"quota: {format_size(quota.memory)} of memory in all: end a sandbox or ask for less"
            )
        if sum(o.limits.cpus for o in held) + options.limits.cpus > quota.cpus:
            raise QuotaExceeded(f"quota: {quota.cpus:g} CPUs in all: end a sandbox or ask for less")

    def _check_rate(self, uid: int, per_minute: int) -> None:
        launches, now = self._launches[uid], self._clock()
        while launches and now - launches[0] > MINUTE_S:
            launches.popleft()
        if len(launches) >= per_minute:
            wait_s = MINUTE_S - (now - launches[0]) if launches else MINUTE_S
            raise QuotaExceeded(f"quota: {per_minute} launches a minute: try again in {wait_s:.0f} s", wait_s)

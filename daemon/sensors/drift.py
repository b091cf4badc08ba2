"""Whether a process is still what its container was, judged from /proc instead of in the kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from daemon.events import Drift, Process
from daemon.expectation import Expectation
from daemon.sensors.observation import Observation, host_namespaces

Expect = Callable[[str], Expectation | None]
"""By container id; None for one that is not watched, or not known yet."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The first program of a container that was seen inside it."""

    process: Process
    root: tuple[int, int] | None
    started_ns: int
    """CLOCK_REALTIME, when it was seen: a file that changed after it is not the image's."""


class Baselines:
    """One a container; `forget` those that ended.

    Namespaces and the root are compared with the first program's, capabilities and the uid with what the
    container may have. A process that was never anywhere else, such as the first one, cannot be told apart
    by comparison: for it the host's own namespaces are the measure.
    """

    def __init__(self, expect: Expect) -> None:
        self._expect = expect
        self._host = Process(pid=0, **host_namespaces())
        self._known: dict[str, Baseline] = {}

    def of(self, container: str) -> Baseline | None:
        return self._known.get(container)

    def forget(self, container: str) -> None:
        self._known.pop(container, None)

    def in_namespace(self, mnt_ns: int) -> str | None:
        """The container whose mount namespace that is."""
        found = [container for container, base in self._known.items() if base.process.mnt_ns == mnt_ns]
        return found[0] if found and mnt_ns != self._host.mnt_ns else None

    def retain(self, containers: Collection[str]) -> None:
        """Forgets all others."""
        for container in self._known.keys() - set(containers):
            del self._known[container]

    def judge(self, container: str, seen: Observation) -> Drift:
        """The first that is inside becomes the measure of the others."""
        expectation = self._expect(container)
        if container not in self._known and self.is_inside(container, seen.process):
            self._known[container] = Baseline(seen.process, seen.root, time.time_ns())
        baseline = self._known.get(container)
        measure = baseline.process if baseline else None
        drift = _namespaces(seen.process, measure, self._host, expectation)
        drift |= _powers(seen.process, measure, expectation)
        if baseline and seen.root and baseline.root and seen.root != baseline.root:
            drift |= Drift.ROOT
        return drift

    def is_inside(self, container: str, process: Process) -> bool:
        """Not in the host's mount namespace, as the runtime is while it prepares the container."""
        if not process.mnt_ns:
            return False
        return process.mnt_ns != self._host.mnt_ns or _may_share("mnt", self._expect(container))


_BITS = {"mnt": Drift.MOUNT_NAMESPACE, "user": Drift.USER_NAMESPACE, "pid": Drift.PID_NAMESPACE}


def _namespaces(
    process: Process, measure: Process | None, host: Process, expectation: Expectation | None
) -> Drift:
    drift = Drift.NONE
    for name, bit in _BITS.items():
        now, hosts = _number(process, name), _number(host, name)
        own = expectation is not None and name != "user" and not _may_share(name, expectation)
        changed = measure is not None and now != _number(measure, name)
        if now and ((own and now == hosts) or changed):
            drift |= bit
    return drift


def _powers(process: Process, measure: Process | None, expectation: Expectation | None) -> Drift:
    """What is expected counts; without an expectation, what the first program had."""
    if expectation is None and measure is None:
        return Drift.NONE
    allowed = expectation.capabilities if expectation else measure.capabilities if measure else 0
    uid = expectation.uid if expectation else measure.uid if measure else 0
    drift = Drift.CAPABILITIES if process.capabilities & ~allowed else Drift.NONE
    return drift | (Drift.UID if process.uid == 0 and uid != 0 else Drift.NONE)


def _number(process: Process, name: str) -> int:
    number: int = getattr(process, f"{name}_ns")
    return number


def _may_share(name: str, expectation: Expectation | None) -> bool:
    return expectation is not None and name in expectation.host_namespaces

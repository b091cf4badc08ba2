"""What a sandbox used, judged against its limits."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from daemon.sandbox.cgroup import UNLIMITED, Limits, Usage

THROTTLED_SHARE = 0.9
THROTTLED_US = 10_000_000
STEP_US = THROTTLED_US // 20


class ExceededKind(StrEnum):
    MEMORY = "memory"
    PIDS = "pids"
    CPU = "cpu"
    WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that was hit; `limit` and `used` are bytes, processes, or for CPU thousandths of a core."""

    kind: ExceededKind
    limit: int
    used: int
    message: str


class NetworkBytes(NamedTuple):
    rx: int
    tx: int


def exceeded(before: Usage, after: Usage, limits: Limits) -> list[Exceeded]:
    """The limits that were hit between two samples.

    For CPU give a `before` that is at least 10 s old: nine in ten periods must have been throttled over 10 s
    of running time, and a sandbox that sleeps now and then runs through fewer periods than the clock.
    """
    found = (_memory(before, after, limits), _pids(before, after, limits), _cpu(before, after, limits))
    return [hit for hit in found if hit is not None]


class Progress:
    """Samples of one cgroup, each judged by what it adds; CPU over the last ten seconds of running time."""

    def __init__(self, start: Usage) -> None:
        self._last = start
        self._marks = deque([start])
        """Earlier samples, STEP_US or more apart, of which only the first may be older than THROTTLED_US."""

    def exceeded(self, now: Usage, limits: Limits) -> list[Exceeded]:
        found = [hit for hit in exceeded(self._last, now, limits) if hit.kind != ExceededKind.CPU]
        self._last = now
        hit = _cpu(self._before(now, limits), now, limits)
        if hit:
            self._marks.clear()
            found.append(hit)
        if not self._marks or _run_us(self._marks[-1], now, limits) >= STEP_US:
            self._marks.append(now)
        return found

    def _before(self, now: Usage, limits: Limits) -> Usage:
        while len(self._marks) > 1 and _run_us(self._marks[1], now, limits) >= THROTTLED_US:
            self._marks.popleft()
        return self._marks[0]


def workspace_exceeded(workspace: os.statvfs_result) -> list[Exceeded]:
    """Whether the workspace's file system is out of blocks or of inodes; a total of 0 means no limit."""
    limit, used = (
        blocks * workspace.f_frsize for blocks in (workspace.f_blocks, workspace.f_blocks - workspace.f_bfree)
    )
    if workspace.f_blocks and not workspace.f_bavail:
        return [Exceeded(ExceededKind.WORKSPACE, limit, used, "workspace full: no space left")]
    if workspace.f_files and not workspace.f_favail:
        return [Exceeded(ExceededKind.WORKSPACE, limit, used, "workspace full: too many files")]
    return []


def network_bytes(pid: int, proc: Path = Path("/proc")) -> NetworkBytes:
    """Bytes since the start of the network namespace that `pid` is in, on all interfaces but lo.

    Raises ProcessLookupError if the process has exited.
    """
    try:
        return parse_net_dev((proc / str(pid) / "net" / "dev").read_text())
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} has exited") from error


def parse_net_dev(text: str) -> NetworkBytes:
    """Sums the first receive and the first transmit column of /proc/<pid>/net/dev (proc_pid_net(5))."""
    lines = (line.partition(":") for line in text.splitlines()[2:])
    columns = [counters.split() for name, _, counters in lines if name.strip() != "lo"]
    return NetworkBytes(sum(int(column[0]) for column in columns), sum(int(column[8]) for column in columns))


def _memory(before: Usage, after: Usage, limits: Limits) -> Exceeded | None:
    if after.oom_kills <= before.oom_kills:
        return None
    message = "container killed: memory limit exceeded"
    return Exceeded(ExceededKind.MEMORY, limits.memory_bytes, after.memory_peak_bytes, message)


def _pids(before: Usage, after: Usage, limits: Limits) -> Exceeded | None:
    refused = after.pids_refused - before.pids_refused
    if refused <= 0:
        return None
    message = f"process limit reached: {refused} new processes or threads refused"
    return Exceeded(ExceededKind.PIDS, limits.pids, after.pids_peak, message)


def _cpu(before: Usage, after: Usage, limits: Limits) -> Exceeded | None:
    periods = after.periods - before.periods
    throttled = after.throttled_periods - before.throttled_periods
    long_enough = _run_us(before, after, limits) >= THROTTLED_US
    if limits.cpu_quota_us == UNLIMITED or not long_enough or throttled < THROTTLED_SHARE * periods:
        return None
    message = f"cpu limit reached: throttled in {throttled} of {periods} periods"
    limit = 1000 * limits.cpu_quota_us // limits.cpu_period_us
    used = (after.cpu_ns - before.cpu_ns) // (periods * limits.cpu_period_us)
    return Exceeded(ExceededKind.CPU, limit, used, message)


def _run_us(before: Usage, after: Usage, limits: Limits) -> int:
    """In periods of the CPU limit in which anything ran."""
    return (after.periods - before.periods) * limits.cpu_period_us

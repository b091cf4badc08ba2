"""What the daemon costs others: `python -m tests.benchmarks.cost [ROUNDS]`, as root. The last line is JSON.

Two workloads in containers: a compile, and fork and exec of a program that does nothing. Without a daemon,
beside one that does not watch their container, and watched; in turn and several times, so that whatever else
the machine does falls on all alike. The least wall time of each is compared. Then what the daemon and its
writing process use while SANDBOXES sandboxes of it do nothing, beside a program that only wakes each second:
a virtual machine whose host takes back pages that rest makes waking dear to everybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.corpus.bootstrap import debian
from tests.corpus.images import added, engine
from tests.images import imported
from tests.running import Daemon, daemon

IMAGE, SMALL = "container-kit-bench/cost:local", "container-kit-bench/idle:local"
SOURCE = Path(__file__).with_name("cost.c")
FUNCTIONS = 400
WORKLOADS = {
    "compile": ("3", "1", "gcc", "-O1", "-c", "/work.c", "-o", "/tmp/work.o"),
    "fork_exec": ("7", "300", "/cost"),
}
WATCHED = {"none": None, "unwatched": 'watch = "managed"\n', "watched": 'watch = "all"\n'}
SANDBOXES = 50
SETTLE_S, IDLE_S = 15.0, 64.0
"""Past the first samples, which come soon after a launch; and over all that recurs at least once a minute."""
TIMER = "import asyncio\nasync def run():\n    while True: await asyncio.sleep(1)\nasyncio.run(run())"
ADMINISTRATOR = """
[[callers]]
users = [0]
profiles = ["*"]
administrator = true
quota = { running = 1024, launches_per_minute = 100000, memory = "1t", cpus = 10000 }
"""


@contextmanager
def image(folder: Path) -> Iterator[str]:
    program, source = folder / "cost", folder / "work.c"
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
    source.write_text("".join(_function(number) for number in range(FUNCTIONS)))
    with engine() as client, added(client, debian(client), {"cost": program, "work.c": source}, IMAGE) as tag:
        yield tag


def _function(number: int) -> str:
    body = "for (int i = 0; i < n; i++) { s += i * n; if (s & 4) s ^= i << 3; else s -= n; }"
    return f"int f{number}(int n) {{ int s = {number}; {body} return s; }}\n"


def measured_ns(workload: str) -> float:
    command = ["docker", "run", "--rm", "--network=none", IMAGE, "/cost", *WORKLOADS[workload]]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_round(results: dict[str, dict[str, list[float]]], number: int) -> None:
    """Each round begins with another, as the machine's speed changes within one."""
    order = [*WATCHED, *WATCHED][number % len(WATCHED) :][: len(WATCHED)]
    for where in order:
        config = WATCHED[where]
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            running = stack.enter_context(daemon(Path(folder), config)) if config is not None else None
            for workload in WORKLOADS:
                results[workload][where].append(measured_ns(workload))
            if running is not None:
                _check_watch(running, watched=where == "watched")


def _check_watch(running: Daemon, *, watched: bool) -> None:
    """Of a container that was not watched, or was by mistake, nothing would have been measured."""
    seen = running.request("GET", "/healthz").json()["events_seen"]
    if (seen > int(WORKLOADS["fork_exec"][1])) != watched:
        raise RuntimeError(
            f"{seen} events were seen of a container that was {'' if watched else 'not '}to be watched"
        )


def idle_shares() -> dict[str, float]:
    """Of one core: CPU time by wall time of the daemon with its children, and of a program with a timer."""
    with tempfile.TemporaryDirectory() as name, imported(SMALL), daemon(Path(name), ADMINISTRATOR) as running:
        for _ in range(SANDBOXES):
            launched = running.launch(SMALL, "sleep", "600", limits={"memory": "32m"})
            if launched.get("state") != "running":
                raise RuntimeError(f"not launched: {launched}")
        with timer() as timer_pid:
            time.sleep(SETTLE_S)
            pids = {"daemon": running.pid, "timer": timer_pid}
            begin_s, before = time.monotonic(), {name: _cpu_s(pid) for name, pid in pids.items()}
            time.sleep(IDLE_S)
            spent = {name: _cpu_s(pid) - before[name] for name, pid in pids.items()}
            return {name: round(cpu_s / (time.monotonic() - begin_s), 4) for name, cpu_s in spent.items()}


@contextmanager
def timer() -> Iterator[int]:
    child = subprocess.Popen([sys.executable, "-c", TIMER])
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def _cpu_s(pid: int) -> float:
    """Of it and of its children that run (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(_cpu_s(int(child)) for child in children)


def summary(results: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    least = {name: {where: min(found) for where, found in by.items()} for name, by in results.items()}
    return {
        "least_ms": {
            name: {where: round(ns / 1e6, 3) for where, ns in by.items()} for name, by in least.items()
        },
        "ratio": {
            name: {where: round(by[where] / by["none"], 3) for where in ("unwatched", "watched")}
            for name, by in least.items()
        },
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    results: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder, image(Path(folder)):
        for number in range(rounds):
            one_round(results, number)
    idle = {"sandboxes": SANDBOXES, "share_of_a_core": idle_shares()}
    print(json.dumps({"rounds": rounds, **summary(results), "idle": idle}))


if __name__ == "__main__":
    main()

"""What the sensor costs: `python -m tests.benchmarks.sensor`, as root. The last line is one JSON object.

CPU time an operation without a sensor, beside one (a task of the host), and inside a watched sandbox, in turn
and several times, so that whatever else the machine does falls on all alike. The least of each is compared.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from daemon.sensors import bpf
from daemon.sensors.cgroups import find_tree
from tests.sensors.watching import Watching

SOURCE = Path(__file__).with_name("sensor.c")
COUNTS = {"getppid": 200_000, "open": 50_000, "fork_exec": 300}
ROUNDS = 3
PARENT = "sensorbench"
CLONE_NEWNS = 0x0002_0000


def build(folder: Path) -> Path:
    program = folder / "workload"
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-o", program, SOURCE], check=True)
    return program


def measure(program: Path, *, inside: Path | None = None) -> dict[str, float]:
    """`inside`: the cgroup of a sandbox. The program then starts in a mount namespace of its own there."""

    def enter() -> None:
        if inside is not None:
            (inside / "cgroup.procs").write_text(str(os.getpid()))
            ctypes.CDLL(None).unshare(CLONE_NEWNS)

    found = {}
    for name, count in COUNTS.items():
        command = [program, name, str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=enter)
        found[name] = float(done.stdout)
    return found


def rounds(program: Path) -> dict[str, dict[str, list[float]]]:
    results: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(ROUNDS):
        _keep(results["none"], measure(program))
        with Watching("", parent=PARENT) as watching:
            sandbox = find_tree().mount_point / watching.cgroup_parent.lstrip("/") / "bench"
            sandbox.mkdir(exist_ok=True)
            _keep(results["host"], measure(program))
            before = len(watching.seen)
            _keep(results["sandbox"], measure(program, inside=sandbox))
            watching.await_idle()
            if len(watching.seen) - before < COUNTS["fork_exec"]:
                raise RuntimeError("the sandbox was not watched: nothing was measured")
            sandbox.rmdir()
    return results


def _keep(results: dict[str, list[float]], found: dict[str, float]) -> None:
    for name, cost_ns in found.items():
        results[name].append(cost_ns)


def summary(results: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    least = {where: {name: min(costs) for name, costs in found.items()} for where, found in results.items()}
    none = least["none"]
    return {
        "benchmark": "sensor",
        "rounds": ROUNDS,
        "cpu_ns": least,
        "ratio": {
            where: {name: round(least[where][name] / none[name], 3) for name in COUNTS}
            for where in ("host", "sandbox")
        },
    }


def main() -> None:
    bpf.build()
    with tempfile.TemporaryDirectory(prefix="container-kit-bench-") as folder:
        results = rounds(build(Path(folder)))
    sys.stdout.write(json.dumps(summary(results)) + "\n")


if __name__ == "__main__":
    main()

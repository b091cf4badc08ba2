"""Escapes beside a flood of events of another container: `python -m tests.benchmarks.flood [COUNT]`, as root.

COUNT containers, one after the other, each leave their mount namespace (unshare(2) with CAP_SYS_ADMIN): on a
quiet machine, then while another container, with no limit on its CPU, opens, closes and forks as fast as it
can. Latencies: from the system call, by the kernel's clock, to the finding and to the response. Prints one
line of JSON last.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.images import imported
from tests.running import Daemon, daemon

IMAGE = "container-kit-bench/flood:local"
SOURCE = Path(__file__).with_name("flood.c")
SETTLE_S = 5.0
LATENCIES = ("detection_latency", "response_latency")
OPEN = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")


def build(folder: Path) -> Path:
    program = folder / "flood"
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-o", program, SOURCE], check=True)
    return program


def started(*arguments: str) -> str:
    """The container's id."""
    line = ["docker", "run", "--detach", "--network=none", *arguments]
    return subprocess.check_output(line, text=True).strip()


def removed(container: str) -> None:
    subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)


def escape() -> str:
    container = started(*OPEN, IMAGE, "unshare", "-m", "true")
    subprocess.run(["docker", "wait", container], check=True, capture_output=True)
    removed(container)
    return container


@contextmanager
def flooding() -> Iterator[str]:
    container = started(IMAGE, "/flood")
    try:
        time.sleep(1)
        yield container
    finally:
        removed(container)


def rounds(container: str) -> int:
    return len(subprocess.check_output(["docker", "logs", container]))


def measured(running: Daemon, count: int) -> dict[str, Any]:
    containers = {escape() for _ in range(count)}
    time.sleep(SETTLE_S)
    violations = [
        event["details"]
        for event in running.events()
        if event["event_type"] == "SECURITY_VIOLATION" and event["details"].get("container_id") in containers
    ]
    return {
        "escapes": count,
        "found": len({details["container_id"] for details in violations}),
        **{name: quantiles([details[f"{name}_ms"] for details in violations]) for name in LATENCIES},
        "lost": running.request("GET", "/healthz").json()["events_lost"],
    }


def quantiles(values_ms: list[float]) -> dict[str, float]:
    p99 = statistics.quantiles(values_ms, n=100, method="inclusive")[98]
    return {
        "p50_ms": round(statistics.median(values_ms), 2),
        "p99_ms": round(p99, 2),
        "max_ms": max(values_ms),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder)
        with imported(IMAGE, {"flood": program}), daemon(folder, 'watch = "all"\n') as running:
            quiet = measured(running, count)
            with flooding() as container:
                begin_s, before = time.monotonic(), rounds(container)
                flood = measured(running, count)
                flood["forks_per_s"] = round((rounds(container) - before) / (time.monotonic() - begin_s))
            flood["opens_per_s"] = 200 * flood["forks_per_s"]
    print(json.dumps({"quiet": quiet, "flood": flood}))


if __name__ == "__main__":
    main()

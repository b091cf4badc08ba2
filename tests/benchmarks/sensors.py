"""What the sensors without eBPF see of short processes, how soon, and what a guarded file costs who opens it.

`python -m tests.benchmarks.sensors`, as root, beside an engine. Of 500 processes of one container, each of
which lives so many microseconds: seen (reported at all), attributed (to the container), file (known which
program), argv. Delay: from the kernel's own time to the batch. Prints one line of JSON last.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import docker

from daemon.events import Event, ProcessExecuted
from daemon.sensors import Sensor
from daemon.sensors.fanotify import FanotifySensor
from daemon.sensors.guard import InodeGuard
from daemon.sensors.netlink import NetlinkSensor
from tests.images import imported
from tests.sensors.collecting import collecting
from tests.sensors.containers import Container, started

IMAGE = "container-kit-bench/sensors:local"
SOURCE = Path(__file__).parent.parent / "sensors" / "workload.c"
COUNT = 500
OPENS = 500
Make = Callable[[Container], list[Sensor]]


def netlink(_: Container) -> list[Sensor]:
    return [NetlinkSensor()]


def both(container: Container) -> list[Sensor]:
    beside = NetlinkSensor()
    return [beside, fanotify(container, beside)[0]]


def fanotify(container: Container, beside: NetlinkSensor | None = None) -> list[Sensor]:
    sensor = FanotifySensor(beside)
    sensor.watch(container.id, container.pid)
    return [sensor]


TIERS: dict[str, Make] = {
    "netlink": netlink,
    "netlink+fanotify": both,
    "fanotify": fanotify,
}


async def measure(make: Make, container: Container, microseconds: int) -> dict[str, Any]:
    sensors = make(container)
    delays_ms: list[float] = []
    async with AsyncExitStack() as stack:
        seen = [await stack.enter_async_context(collecting(sensor)) for sensor in sensors]
        cpu_s = time.process_time()
        run = asyncio.create_task(
            asyncio.to_thread(container.run, "/workload", "short", str(COUNT), str(microseconds))
        )
        known = 0
        while not run.done() or known < len(seen[0]):
            now_ns = time.monotonic_ns()
            delays_ms += [(now_ns - event.time_ns) / 1e6 for event in seen[0][known:]]
            known = len(seen[0])
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
        cpu_s = time.process_time() - cpu_s
    return figures(seen[0], container.id) | {
        "delay_ms": [
            round(value, 1) for value in (statistics.median(delays_ms or [0]), max(delays_ms or [0]))
        ],
        "cpu_s": round(cpu_s, 2),
        "lost": {name: count for sensor in sensors for name, count in sensor.lost.items() if count},
    }


def figures(events: list[Event], container: str) -> dict[str, Any]:
    executed = [e for e in events if isinstance(e, ProcessExecuted)]
    naps = {
        e.process.pid: e
        for e in executed
        if "short" not in e.process.argv and e.file.path in ("", "/workload")
    }
    return {
        "seen": len(naps),
        "attributed": sum(e.sandbox == container for e in naps.values()),
        "file": sum(e.file.path == "/workload" for e in naps.values()),
        "argv": sum("nap" in e.process.argv for e in naps.values()),
    }


async def guarded(folder: Path) -> dict[str, Any]:
    """Microseconds of a denied open, of an open of another file beside it, and of one without any guard."""
    (folder / "secret").write_text("x")
    (folder / "other").write_text("x")
    before = await opens(folder / "other")
    async with collecting(guard := InodeGuard()):
        guard.guard(folder / "secret")
        denied, other = await opens(folder / "secret"), await opens(folder / "other")
    return {"denied_us": denied, "beside_us": other, "without_us": before}


async def opens(path: Path) -> list[float]:
    script = f"""
import sys, time
taken = []
for _ in range({OPENS}):
    before = time.perf_counter()
    try:
        open(sys.argv[1]).close()
    except PermissionError:
        pass
    taken.append((time.perf_counter() - before) * 1e6)
taken.sort()
print(*(round(taken[{OPENS} * share // 100], 1) for share in (50, 99)))
"""
    command = [sys.executable, "-c", script, str(path)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


async def main() -> None:
    results: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="container-kit-bench-") as name:
        program = Path(name) / "workload"
        subprocess.run(["gcc", "-static", "-O2", "-pthread", "-o", program, SOURCE], check=True)
        with imported(IMAGE, {"workload": program}) as image:
            client = docker.DockerClient(base_url="unix:///var/run/docker.sock", version="1.41")
            container = started(client, image, ["sleep", "3600"])
            try:
                for tier, make in TIERS.items():
                    for microseconds in (5000, 0):
                        results[f"{tier}, {microseconds} us"] = await measure(make, container, microseconds)
                        print(tier, microseconds, results[f"{tier}, {microseconds} us"])
            finally:
                client.api.remove_container(container.id, force=True)
                client.close()
        results["guard"] = await guarded(Path(name))
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main())

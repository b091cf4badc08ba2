"""What the responses in the kernel let through: `python -m tests.benchmarks.response [TRIES]`, as root.

- kill: a task that does what its profile ends it for never returns to user mode (counted in shared memory)
- canary: a guarded file is opened by nobody, while a sibling thread reads by the number that the descriptor
  would get; and how often that thread wins where nothing is guarded
- egress: connects outside the list are denied, counted by the listener, too; a neighbour connects meanwhile

Prints one line of JSON last; ends with 1 unless all of each were stopped.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from daemon.sensors import bpf
from daemon.sensors.guard import InodeGuard
from tests.images import imported
from tests.sensors.collecting import collecting, eventually
from tests.sensors.test_egress import OPTIONS, OUTSIDE, addresses, destinations
from tests.sensors.test_responses import ALL, CALLS, OFFENCES
from tests.sensors.watching import OPEN, Watching, build_act

IMAGE = "container-kit-bench/response:local"
WORKLOAD = Path(__file__).parent.parent / "sensors" / "workload.c"


def kills(watching: Watching, tries: int) -> dict[str, Any]:
    container = watching.start("sleep", "600", options=OPEN)
    try:
        watching.await_enrolled(container)
        watching.do(watching.sensor.kill_calls, CALLS)
        watching.do(watching.sensor.respond, container, ALL)
        return {offence[0]: killed(watching, container, offence, tries) for offence in OFFENCES}
    finally:
        watching.remove(container)


def killed(watching: Watching, container: str, offence: tuple[str, ...], tries: int) -> dict[str, int]:
    done = watching.exec(container, "/act", "repeat", str(tries), *offence)
    ended, returned = map(int, done.stdout.split())
    return {"tries": tries, "stopped": ended, "returned": returned}


def egress(watching: Watching, tries: int) -> dict[str, Any]:
    containers = [watching.start("sleep", "600", options=OPTIONS) for _ in range(2)]
    try:
        for container in containers:
            watching.await_enrolled(container)
            addresses(watching, container)
        watching.do(watching.sensor.set_egress, containers[0], destinations())
        command = ("/act", "connects", str(tries), OUTSIDE[1], "9")
        with ThreadPoolExecutor(2) as pool:
            outputs = pool.map(lambda one: watching.exec(one, *command).stdout, containers)
            (denied, connected, accepted), (_, through, seen) = (map(int, one.split()) for one in outputs)
    finally:
        for container in containers:
            watching.remove(container)
    return {
        "confined": {"tries": tries, "stopped": denied, "connected": connected, "accepted": accepted},
        "neighbour": {"tries": tries, "connected": through, "accepted": seen},
    }


async def canary(folder: Path, tries: int) -> dict[str, Any]:
    secret = folder / "secret"
    secret.write_text("secret")
    _, unguarded = await raced(folder, tries)
    async with collecting(guard := InodeGuard()) as events:
        guard.guard(secret)
        denied, leaks = await raced(folder, tries)
        await eventually(lambda: len(events) == tries)
    return {"tries": tries, "stopped": denied, "leaks": leaks, "leaks_without_guard": unguarded}


async def raced(folder: Path, tries: int) -> tuple[int, int]:
    """How many opens were denied, and in how many tries the other thread read something."""
    command = ["docker", "run", "--rm", "--network=none", f"--volume={folder}:/w:ro", IMAGE]
    race = [*command, "/workload", "race", "/w/secret", str(tries)]
    done = await asyncio.to_thread(subprocess.run, race, capture_output=True, text=True, check=True)
    denied, leaks = map(int, done.stdout.split())
    return denied, leaks


def is_whole(figures: dict[str, Any]) -> bool:
    parts = [*figures["kill"].values(), figures["canary"], figures["egress"]["confined"]]
    stopped = all(part["stopped"] == part["tries"] for part in parts)
    through = sum(
        part.get(name, 0) for part in parts for name in ("returned", "leaks", "connected", "accepted")
    )
    neighbour = figures["egress"]["neighbour"]
    return stopped and not through and neighbour["accepted"] == neighbour["tries"]


def main() -> int:
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    if not bpf.SENSOR.is_file():
        bpf.build()
    with tempfile.TemporaryDirectory(prefix="container-kit-bench-") as name:
        folder = Path(name)
        program = folder / "workload"
        subprocess.run(["gcc", "-static", "-O2", "-pthread", "-o", program, WORKLOAD], check=True)
        (folder / "canary").write_text("secret\n")
        files = {"act": build_act(folder), "workload": program, "etc/canary": folder / "canary"}
        (folder / "shared").mkdir()
        with imported(IMAGE, files):
            with Watching(IMAGE, parent="responsebench") as watching:
                figures: dict[str, Any] = {"kill": kills(watching, tries), "egress": egress(watching, tries)}
            figures["canary"] = asyncio.run(canary(folder / "shared", tries))
    print(json.dumps(figures))
    return 0 if is_whole(figures) else 1


if __name__ == "__main__":
    sys.exit(main())

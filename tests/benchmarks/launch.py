"""`make bench`: launch overhead against the bare Engine API, interleaved, and the cost of validation.

All run the same image, command, limits and seccomp list: launched again, for which the default settings have
a spare wait; launched as one of a kind of which there is no spare; and by the engine alone. First byte: from
the request to the first byte of the program's output. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from daemon import PROFILES
from daemon.sandbox.checks import Subject
from daemon.sandbox.engine import Engine
from daemon.sandbox.environment import environment
from daemon.sandbox.host import HostState
from daemon.sandbox.hostconfig import create_body
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profiles
from daemon.sandbox.validator import SecurityValidator
from tests.images import imported
from tests.running import Daemon, daemon

IMAGE = "container-kit-bench:local"
ENGINE = Path("/var/run/docker.sock")
COMMAND = ["/bin/echo", "hi"]
WARM_UP = 3
REST_S = 0.1
"""Before each: an engine has still to do with the one before."""
SPARES = 1
"""As by the default settings."""


async def ours(session: aiohttp.ClientSession, body: dict[str, Any]) -> float:
    start = time.perf_counter()
    first_s = 0.0
    headers = {"Accept": "application/x-ndjson"}
    async with session.post("/v1/sandboxes?wait=true", json=body, headers=headers) as response:
        async for line in response.content:
            if b'"stdout", "data": "hi' in line:
                first_s = time.perf_counter() - start
    return first_s * 1000


async def bare(engine: Engine, session: aiohttp.ClientSession, body: dict[str, Any]) -> float:
    """As good as the Engine API can be used: plain HTTP on the socket, attached before the start, and read
    while the start call is still under way: output comes before its answer."""
    start = time.perf_counter()
    name = f"container-kit-bench-{secrets.token_hex(4)}"
    async with session.post(f"/v1.41/containers/create?name={name}", json=body) as response:
        container = (await response.json())["Id"]
    stream = await engine.attach(container, tty=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(begin(session, container))
        output = await stream.read()
        elapsed_ms = (time.perf_counter() - start) * 1000
    if output is None or not output.data.startswith(b"hi"):
        raise RuntimeError(f"unexpected output {output!r}")
    await engine.wait(container)
    await stream.close()
    async with session.delete(f"/v1.41/containers/{container}?force=1&v=1") as response:
        response.raise_for_status()
    return elapsed_ms


async def a_spare_waits(session: aiohttp.ClientSession) -> None:
    while True:
        async with session.get("/healthz") as response:
            waits = (await response.json())["spares"] == 1
        await asyncio.sleep(REST_S)
        if waits:
            return


async def begin(session: aiohttp.ClientSession, container: str) -> None:
    async with session.post(f"/v1.41/containers/{container}/start") as response:
        response.raise_for_status()


async def subject(engine: Engine) -> Subject:
    options = SandboxOptions(image=IMAGE, command=COMMAND, profile="strict")
    host, profile = HostState(engine), Profiles([PROFILES]).get("strict")
    image, facts = await engine.image(IMAGE), await host.engine_facts()
    variables = environment(options, profile, image)
    body = create_body(options, profile, image, facts, variables, apparmor=None)
    return Subject(options, profile, body, variables, image, facts, host.facts(), gate=())


async def validations_ms(judged: Subject, count: int) -> list[float]:
    """Each uncached: a new validator for each."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await SecurityValidator().validate(judged)
        times.append((time.perf_counter() - start) * 1000)
    return times


def quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3)


async def measure(running: Daemon, rounds: int) -> dict[str, float]:
    engine = Engine(ENGINE)
    judged = await subject(engine)
    body = {**judged.body, "Entrypoint": None, "Cmd": COMMAND}
    body["HostConfig"] = {**body["HostConfig"], "Mounts": []}
    del body["HostConfig"]["CgroupParent"]  # there the daemon would take it for a sandbox, and look at it
    request = {"image": IMAGE, "command": COMMAND, "profile": "strict"}
    first = {**request, "labels": {"of": "none"}}  # what no spare has
    anew, again, without = [], [], []
    async with (
        aiohttp.ClientSession("http://d", connector=aiohttp.UnixConnector(str(running.socket))) as api,
        aiohttp.ClientSession("http://d", connector=aiohttp.UnixConnector(str(ENGINE))) as direct,
    ):
        for _ in range(2):
            await ours(api, request)
        for number in range(rounds + WARM_UP):
            await a_spare_waits(api)  # and none is made while the others are timed
            times_ms = [await ours(api, first)]
            await asyncio.sleep(REST_S)
            times_ms.append(await bare(engine, direct, body))
            await asyncio.sleep(REST_S)
            times_ms.append(await ours(api, request))
            if number >= WARM_UP:
                for kept, time_ms in zip((anew, without, again), times_ms, strict=True):
                    kept.append(time_ms)
        await a_spare_waits(api)
    validations = await validations_ms(judged, 500)
    await engine.close()
    return {
        "rounds": rounds,
        "again_p50_ms": quantile(again, 0.5),
        "anew_p50_ms": quantile(anew, 0.5),
        "bare_p50_ms": quantile(without, 0.5),
        "again_ratio_p50": round(statistics.median(again) / statistics.median(without), 3),
        "anew_ratio_p50": round(statistics.median(anew) / statistics.median(without), 3),
        "again_p90_ms": quantile(again, 0.9),
        "anew_p90_ms": quantile(anew, 0.9),
        "bare_p90_ms": quantile(without, 0.9),
        "validate_p50_ms": quantile(validations, 0.5),
        "validate_p99_ms": quantile(validations, 0.99),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with (
        tempfile.TemporaryDirectory() as folder,
        imported(IMAGE),
        daemon(Path(folder), spares_of_repeats=SPARES) as running,
    ):
        print(json.dumps(asyncio.run(measure(running, rounds))))


if __name__ == "__main__":
    main()

"""Many launches at once, impatient clients: afterwards everything is as it was before."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from docker.constants import DEFAULT_NUM_POOLS

from daemon import ROOT
from daemon.sandbox.engine import CONNECTIONS, THREADS
from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

LAUNCHES = 200
AT_ONCE = 20
POOL_FILLING = 48  # more than the pool of threads has, so that it is full
FILE_THREADS = min(32, (os.cpu_count() or 1) + 4)  # asyncio.to_thread's pool
OWN_THREADS = 2  # the event loop's and the audit log's
OWN_SOCKETS = 4  # the listener, the event loop's pair, and the connection that a client has just closed
ENGINE_MOUNTS = ("/var/lib/docker/", "/run/docker/")  # of containers, which are counted; others' come and go
KILLED_CLIENTS = 10
SETTLE_S = 20.0


def _descriptors(pid: int) -> list[str]:
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(descriptor.readlink()))
    return links


def _counts(running: Daemon) -> dict[str, int]:
    descriptors = _descriptors(running.pid)
    sockets = sum(link.startswith("socket:") for link in descriptors)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "sockets": sockets,
        "other descriptors": len(descriptors) - sockets,
        "threads": len(list(Path(f"/proc/{running.pid}/task").iterdir())),
        "mounts": sum(not mount.startswith(ENGINE_MOUNTS) for mount in mounts),
        "containers": running.containers(),
    }


async def _launch_all(running: Daemon, image: str, at_once: int) -> list[int]:
    limit = asyncio.Semaphore(at_once)
    connector = aiohttp.UnixConnector(str(running.socket), limit=0)
    async with (
        aiohttp.ClientSession("http://daemon", connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        runs = [tasks.create_task(_launch(session, limit, image, number)) for number in range(LAUNCHES)]
    return [run.result() for run in runs]


async def _launch(session: aiohttp.ClientSession, limit: asyncio.Semaphore, image: str, number: int) -> int:
    body = {"image": image, "command": ["sh", "-c", f"exit {number % 100}"], "limits": {"memory": "32m"}}
    async with limit, session.post("/v1/sandboxes?wait=true", json=body) as response:
        result = await response.json()
    async with session.delete(f"/v1/sandboxes/{result['sandbox_id']}") as response:
        assert response.status == 204
    return int(result["exit_code"])


def _kill_clients(running: Daemon, image: str) -> None:
    """Clients that die by SIGKILL while their launch is under way; their sandboxes end by themselves."""
    program = (
        "import sys; from pathlib import Path; from tests.running import Daemon\n"
        "Daemon(Path(sys.argv[1]), Path('/'), 0).run(sys.argv[2], 'sleep', '1')\n"
    )
    command = [sys.executable, "-c", program, str(running.socket), image]
    clients = [subprocess.Popen(command, cwd=ROOT) for _ in range(KILLED_CLIENTS)]
    for client in clients:
        time.sleep(random.uniform(0, 0.1))
        client.kill()
    for client in clients:
        client.wait()


def _end_all(running: Daemon) -> None:
    for sandbox in running.request("GET", "/v1/sandboxes").json()["items"]:
        running.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def _allowed(running: Daemon) -> dict[str, int]:
    """What there is; of sockets and threads as many as the pools may keep, which fill as they are needed."""
    # The SDK has a pool for each address, with one connection in it; /info and /version may be asked at once.
    sockets = CONNECTIONS + DEFAULT_NUM_POOLS + 2 * THREADS + OWN_SOCKETS
    return _counts(running) | {"sockets": sockets, "threads": OWN_THREADS + THREADS + FILE_THREADS}


def test_nothing_leaks(running: Daemon, image: str) -> None:
    asyncio.run(_launch_all(running, image, POOL_FILLING))
    _end_all(running)
    allowed = _allowed(running)
    assert asyncio.run(_launch_all(running, image, AT_ONCE)) == [number % 100 for number in range(LAUNCHES)]
    _kill_clients(running, image)
    deadline_s = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline_s:
        _end_all(running)
        after = _counts(running)
        if all(after[name] <= allowed[name] for name in allowed):
            break
        time.sleep(0.5)
    assert all(after[name] <= allowed[name] for name in allowed), (allowed, after)

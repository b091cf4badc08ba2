"""Containers whose events came first: one that is gone is asked for once; an absent engine is waited for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from structlog.testing import capture_logs

from daemon import watching as module
from daemon.confinement import Confinement
from daemon.events import ProcessForked
from daemon.ledger import Ledger, boot_clock
from daemon.pipeline import Pipeline
from daemon.sandbox.engine import Engine
from daemon.sensing import Sensing
from daemon.watching import Mode, Watch
from tests.engine_proxy import EngineProxy, engine_proxy
from tests.events import event
from tests.sensors.collecting import eventually
from tests.test_sensing import no_engine

pytestmark = [pytest.mark.root, pytest.mark.docker]

GONE = "f" * 64
INSPECTION = re.compile(rb"/containers/([0-9a-f]{64})/json")


class Watched:
    """A real engine behind a socket that counts and can be cut; no sensor runs: the test feeds the events."""

    def __init__(self, proxy: EngineProxy) -> None:
        self.proxy = proxy
        self.engine = Engine(proxy.path)
        self.pipeline = Pipeline([], lambda *_: None, lambda *_: None)
        sensing = Sensing(self.pipeline, [], no_engine)
        ledger = Ledger(boot_clock(0, 0))
        confinement = Confinement(sensing, self.pipeline, [])
        self.watch = Watch(self.engine, self.pipeline, sensing, ledger, confinement, Mode.ALL)
        self.asked: list[str] = []
        proxy.on_request = self._see

    def feed(self, container_id: str) -> None:
        self.pipeline.feed([event(ProcessForked, sandbox=container_id)])

    def _see(self, request: bytes) -> None:
        self.asked += [found.decode() for found in INSPECTION.findall(request)]


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    with engine_proxy(folder) as proxy:
        made = Watched(proxy)
        running = asyncio.create_task(made.watch.run())
        try:
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await made.engine.close()


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """Made, and not started: the engine tells of it only to who asks."""
    with closing(docker.APIClient(base_url="unix:///run/docker.sock", version="1.41")) as client:
        made = client.create_container(image, ["true"])["Id"]
        try:
            yield made
        finally:
            client.remove_container(made, force=True)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is just now, nobody is asked a second time for want of an answer."""
    monkeypatch.setattr(module, "PATIENCE_S", 30)


@pytest.mark.usefixtures("patient")
async def test_one_that_is_gone_is_asked_for_once(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with watched(tmp_path) as made:
            for number in range(4):
                made.feed(GONE)
                await eventually(lambda count=number + 1: made.pipeline.dropped == count)
            assert made.pipeline.waiting() == []
            assert made.asked.count(GONE) == 1
    assert [line["event"] for line in logs] == ["container is gone: its events are dropped"]


@pytest.mark.usefixtures("patient")
async def test_what_is_remembered_of_the_gone_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GONE_REMEMBERED", 2)
    async with watched(tmp_path) as made:
        for digit in "abc":
            made.feed(digit * 64)
        await eventually(lambda: list(made.watch._gone) == ["b" * 64, "c" * 64])
        ours = [digit * 64 for digit in "abc"]
        assert [container for container in made.asked if container in ours] == ours  # there may be others


async def test_while_the_engine_is_away_its_events_wait(tmp_path: Path, container: str) -> None:
    with capture_logs() as logs:
        async with watched(tmp_path) as made:
            made.proxy.cut()
            made.feed(container)
            await eventually(lambda: made.watch._trouble)
            await asyncio.sleep(1.5 * module.RETRY_S)
            assert made.pipeline.waiting() == [container]
            made.proxy.mend()
            await eventually(lambda: made.pipeline.expected(container))
            assert (made.pipeline.waiting(), made.pipeline.dropped) == ([], 0)
    assert [line["event"] for line in logs] == ["container not inspected"]


async def test_one_that_the_engine_is_busy_with_is_known_from_the_disk(
    tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while it starts: it holds the container's lock, and answers when that is done."""
    async with watched(tmp_path) as made:
        await eventually(lambda: made.watch._engine_root)
        asked = []

        async def never(container_id: str) -> dict[str, Any]:
            asked.append(container_id)
            return await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(made.engine, "inspect", never)
        made.feed(container)
        await eventually(lambda: made.pipeline.expected(container))
        assert container in asked  # there may be others

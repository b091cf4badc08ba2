"""Facts of the host, read from text as the kernel writes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from daemon.errors import EngineError
from daemon.sandbox import host
from daemon.sandbox.facts import EngineFacts, ImageFacts
from daemon.sandbox.host import HostState, enforced_profiles

PROFILES = """\
container-kit-sandbox (enforce)
/usr/bin/man (complain)
docker-default (enforce)
firefox (unconfined)
snap.a//b c (enforce)
killer (kill)
"""


def test_only_a_profile_that_is_enforced_is_a_lock() -> None:
    assert enforced_profiles(PROFILES) == {"container-kit-sandbox", "docker-default", "snap.a//b c"}


def test_a_kernel_without_profiles_has_none() -> None:
    assert enforced_profiles("") == frozenset()


ID, OTHER, THIRD = ("sha256:" + digit * 64 for digit in "abc")
FACTS = ImageFacts(
    id=ID, tags=(), digests=(), user="", env=(), entrypoint=(), cmd=(), volumes=(),
    healthcheck=False, size_bytes=1,
)  # fmt: skip


class Engine:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()
        self.broken = False

    async def facts(self) -> EngineFacts:
        self.asked += 1
        await self.go.wait()
        if self.broken:
            raise EngineError("gone")
        return EngineFacts.of({}, {"Version": str(self.asked)})

    async def image(self, name: str) -> ImageFacts:
        return replace(FACTS, id=OTHER) if "other" in name else FACTS


def state(engine: Any) -> HostState:
    return HostState(engine)


async def test_many_that_need_the_facts_ask_once() -> None:
    engine = Engine()
    known = state(engine)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(known.engine_facts())
    assert engine.asked == 1


async def test_facts_are_read_ahead_while_they_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, now_s = Engine(), 100.0
    known = state(engine)
    monkeypatch.setattr(host, "_older", lambda read_s, age_s: now_s - read_s > age_s)
    monkeypatch.setattr(host.time, "monotonic", lambda: now_s)
    async with asyncio.TaskGroup() as known.tasks:
        assert (await known.engine_facts()).version == "1"
        now_s = 106.0
        engine.go.clear()
        for _ in range(3):
            assert (await known.engine_facts()).version == "1"
            await asyncio.sleep(0)
        assert engine.asked == 2
        engine.go.set()
    assert (await known.engine_facts()).version == "2"
    async with asyncio.TaskGroup() as known.tasks:
        now_s, engine.broken = 112.0, True
        assert (await known.engine_facts()).version == "2"
    now_s = 117.0
    with pytest.raises(EngineError):
        await known.engine_facts()


@pytest.mark.parametrize(
    ("image_id", "name", "left"),
    [
        (OTHER, "elsewhere/x:1", ["tool", "docker.io/library/tool:2", ID]),
        (ID, "elsewhere/x:1", ["team/other"]),
        (OTHER, OTHER, ["tool", "docker.io/library/tool:2", ID]),
        (THIRD, "tool:2", ["tool", "team/other", ID]),
        (
            THIRD,
            "docker.io/library/tool:latest",
            ["docker.io/library/tool:2", "team/other", ID],
        ),
        ("tool:latest", "tool", []),
        (THIRD, "DOCKER.IO/x", [ID]),
    ],
)
async def test_what_changed_is_forgotten(image_id: str, name: str, left: list[str]) -> None:
    known = state(Engine())
    for asked in ("tool", "docker.io/library/tool:2", "team/other", ID):
        await known.image(asked)
    known.forget_changed(image_id, name)
    assert list(known._images) == left

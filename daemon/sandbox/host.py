"""The host's and the engine's state, read when it may have changed and remembered while it cannot matter."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from daemon.errors import EngineError
from daemon.images.reference import BadReference, is_id, parse
from daemon.images.single_flight import SingleFlight
from daemon.sandbox.engine import Engine
from daemon.sandbox.facts import EngineFacts, HostFacts, ImageFacts

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")
FACTS_AGE_S, REFRESH_AGE_S = 10.0, 5.0
REMEMBERED_IMAGES = 256


class HostState:
    """Facts at most FACTS_AGE_S old; of images, those of the last time that a name was asked for.

    Facts of REFRESH_AGE_S are read anew in `tasks`, if given, while they serve: of launches in a row none
    waits for an engine that the launches themselves keep busy.
    """

    def __init__(self, engine: Engine) -> None:
        self.tasks: asyncio.TaskGroup | None = None
        self._engine = engine
        self._readings: SingleFlight[None, tuple[float, EngineFacts]] = SingleFlight(0)
        self._refreshing = False
        self._engine_facts: tuple[float, EngineFacts] | None = None
        self._host_facts: tuple[float, HostFacts] | None = None
        self._images: OrderedDict[str, ImageFacts] = OrderedDict()

    async def image(self, name: str) -> ImageFacts:
        """Resolved anew: tags move. Raises ImageNotFound, EngineError."""
        self.forget_image(name)
        facts = self._images[name] = await self._engine.image(name)
        if len(self._images) > REMEMBERED_IMAGES:
            self._images.popitem(last=False)
        return facts

    def forget_image(self, name: str) -> None:
        self._images.pop(name, None)

    def forget_images(self) -> None:
        self._images.clear()

    def forget_changed(self, image_id: str, name: str) -> None:
        """As the engine tells it: an image, and a name that may have meant another. In doubt, all."""
        if not is_id(image_id):
            self.forget_images()  # of a pull it tells the name alone
        for asked, facts in list(self._images.items()):
            if facts.id == image_id or _may_mean_the_same(asked, name):
                del self._images[asked]

    def remembered_image(self, name: str) -> ImageFacts | None:
        """What it was. Who acts on it must ask the engine before it matters."""
        return self._images.get(name)

    async def engine_facts(self) -> EngineFacts:
        known = self._engine_facts
        if known is None or _older(known[0], FACTS_AGE_S):
            known = await self._readings.get(None, self._read_engine_facts)
        elif _older(known[0], REFRESH_AGE_S):
            self._refresh_ahead()
        return known[1]

    async def _read_engine_facts(self) -> tuple[float, EngineFacts]:
        start_s = time.monotonic()
        self._engine_facts = (start_s, await self._engine.facts())
        return self._engine_facts

    def _refresh_ahead(self) -> None:
        if self.tasks is not None and not self._refreshing:
            self._refreshing = True
            self.tasks.create_task(self._refresh(), name="refresh of facts")

    async def _refresh(self) -> None:
        """Never raises: who needs the facts when they are too old is told."""
        try:
            with suppress(EngineError):
                await self._readings.get(None, self._read_engine_facts)
            start_s = time.monotonic()
            self._host_facts = (start_s, await asyncio.to_thread(read_host_facts))
        finally:
            self._refreshing = False

    async def gateway(self, network: str) -> IPv4Address:
        """Where the host is in this network of the engine's. Raises EngineError."""
        return await self._engine.gateway(network)

    def facts(self) -> HostFacts:
        if self._host_facts is None or _older(self._host_facts[0], FACTS_AGE_S):
            self._host_facts = (time.monotonic(), read_host_facts())
        return self._host_facts[1]


def _may_mean_the_same(asked: str, name: str) -> bool:
    if is_id(asked) or is_id(name):
        return asked == name
    try:
        one, other = parse(asked), parse(name)
    except BadReference:
        return True
    return (one.name, one.tag or "latest") == (other.name, other.tag or "latest")


def _older(read_s: float, age_s: float) -> bool:
    return time.monotonic() - read_s > age_s


def read_host_facts() -> HostFacts:
    return HostFacts(
        apparmor=_text(APPARMOR).strip() == "Y",
        apparmor_profiles=enforced_profiles(_text(APPARMOR_PROFILES)),
        unmitigated=_unmitigated(),
        engine_tcp=_engine_tcp(),
    )


def enforced_profiles(text: str) -> frozenset[str]:
    """Of lines of "name (mode)": a profile that only complains, or confines nothing, is no lock."""
    lines = (line.rpartition(" ") for line in text.splitlines())
    return frozenset(name for name, _, mode in lines if mode == "(enforce)")


def _unmitigated() -> tuple[str, ...]:
    if not VULNERABILITIES.is_dir():
        return ()
    return tuple(sorted(f.name for f in VULNERABILITIES.iterdir() if _text(f).startswith("Vulnerable")))


def _engine_tcp() -> tuple[str, ...]:
    """Addresses that a dockerd of this host was told to listen on, from its command line."""
    engines = (
        p.info["cmdline"] or []
        for p in psutil.process_iter(["name", "cmdline"])
        if p.info["name"] == "dockerd"
    )
    return tuple(
        sorted({part.removeprefix("--host=") for line in engines for part in line if "tcp://" in part})
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""The host's and the engine's state, read when it may have changed and remembered while it cannot matter."""

from __future__ import annotations

import time
from collections import OrderedDict
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from daemon.sandbox.engine import Engine
from daemon.sandbox.facts import EngineFacts, HostFacts, ImageFacts

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")
FACTS_AGE_S = 10.0
REMEMBERED_IMAGES = 256


class HostState:
    """Facts at most FACTS_AGE_S old; of images, those of the last time that a name was asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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

    def remembered_image(self, name: str) -> ImageFacts | None:
        """What it was. Who acts on it must ask the engine before it matters."""
        return self._images.get(name)

    async def engine_facts(self) -> EngineFacts:
        if self._engine_facts is None or _old(self._engine_facts[0]):
            self._engine_facts = (time.monotonic(), await self._engine.facts())
        return self._engine_facts[1]

    async def gateway(self, network: str) -> IPv4Address:
        """Where the host is in this network of the engine's. Raises EngineError."""
        return await self._engine.gateway(network)

    def facts(self) -> HostFacts:
        if self._host_facts is None or _old(self._host_facts[0]):
            self._host_facts = (time.monotonic(), read_host_facts())
        return self._host_facts[1]


def _old(read_s: float) -> bool:
    return time.monotonic() - read_s > FACTS_AGE_S


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

"""The host's and the engine's state, read when it may have changed and remembered while it cannot matter."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from daemon.sandbox.engine import Engine
from daemon.sandbox.facts import EngineFacts, HostFacts, ImageFacts

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")
FACTS_AGE_S = 10.0


class HostState:
    """Facts at most FACTS_AGE_S old. An image name is resolved anew for each launch: tags move."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._engine_facts: tuple[float, EngineFacts] | None = None
        self._host_facts: tuple[float, HostFacts] | None = None

    async def image(self, name: str) -> ImageFacts:
        return await self._engine.image(name)

    async def engine_facts(self) -> EngineFacts:
        if self._engine_facts is None or _old(self._engine_facts[0]):
            self._engine_facts = (time.monotonic(), await self._engine.facts())
        return self._engine_facts[1]

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

"""What this host can and cannot enforce, and how to fix it."""

from __future__ import annotations

from pydantic import BaseModel

from daemon import PROFILES
from daemon.sandbox import init
from daemon.sandbox.facts import EngineFacts, HostFacts


class Finding(BaseModel):
    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str = ""


class Diagnosis(BaseModel):
    items: list[Finding]
    next: str | None = None


def diagnose(engine: EngineFacts, host: HostFacts, apparmor_profile: str) -> Diagnosis:
    """Required findings that are not ok keep sandboxes from starting."""
    return Diagnosis(
        items=[
            _init(),
            Finding(
                name="engine",
                ok=True,
                required=True,
                detail=f"Docker {engine.version}, API {engine.api_version}",
            ),
            _seccomp(engine),
            _apparmor(host, apparmor_profile),
            _swap(engine),
            _tcp(host),
            Finding(
                name="cgroups",
                ok=True,
                required=True,
                detail=f"v{engine.cgroup_version}, {engine.cgroup_driver} driver",
            ),
        ]
    )


def _init() -> Finding:
    remedy = "build it: python -m daemon.sandbox.init"
    return Finding(
        name="init", ok=init.BINARY.is_file(), required=True, detail=str(init.BINARY), remedy=remedy
    )


def _seccomp(engine: EngineFacts) -> Finding:
    ok = engine.has_security("seccomp")
    remedy = "" if ok else "use an engine and a kernel with seccomp: no sandbox starts without"
    return Finding(name="seccomp", ok=ok, required=True, detail="filter by the engine", remedy=remedy)


def _apparmor(host: HostFacts, profile: str) -> Finding:
    if not host.apparmor:
        return Finding(
            name="apparmor",
            ok=False,
            required=False,
            detail="not in this kernel",
            remedy="boot with AppArmor",
        )
    loaded = profile in host.apparmor_profiles
    remedy = "" if loaded else f"load it: apparmor_parser -r {PROFILES}/apparmor/{profile}"
    return Finding(name="apparmor", ok=loaded, required=False, detail=f"profile {profile}", remedy=remedy)


def _swap(engine: EngineFacts) -> Finding:
    remedy = "" if engine.swap_limit else "boot with swapaccount=1, or use cgroup v2"
    return Finding(
        name="swap limit", ok=engine.swap_limit, required=False, detail="counted by the kernel", remedy=remedy
    )


def _tcp(host: HostFacts) -> Finding:
    remedy = "remove -H tcp:// from dockerd: who reaches it is root" if host.engine_tcp else ""
    detail = ", ".join(host.engine_tcp) or "the engine listens on no TCP port"
    return Finding(name="engine socket", ok=not host.engine_tcp, required=False, detail=detail, remedy=remedy)

"""What this host can and cannot enforce, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from daemon import PROFILES
from daemon.events import Tier
from daemon.images.findings import ScannerStatus
from daemon.images.scanners.builtin import now, staleness
from daemon.sandbox import init
from daemon.sandbox.facts import EngineFacts, HostFacts
from daemon.sandbox.options import MIB

ENOUGH_BYTES = 256 * MIB


class Check(BaseModel):
    name: str
    ok: bool
    required: bool = Field(description="without it no sandbox starts")
    detail: str
    remedy: str = Field(default="", description="empty where all is well")


class Diagnosis(BaseModel):
    items: list[Check]
    next: str | None = None


def diagnose(
    engine: EngineFacts | str,
    host: HostFacts,
    apparmor: set[str],
    tier: Tier | None,
    audit_log: Path,
    scanner: ScannerStatus,
    max_database_age_s: float | None,
) -> Diagnosis:
    """`apparmor` names the profiles that are to be loaded. `engine` is the reason where it does not answer:
    what only it can tell is then left out. No `max_database_age_s`: nobody asks the scanner.
    """
    checks = [_engine(engine), _init()]
    if isinstance(engine, EngineFacts):
        checks += _of_engine(engine)
    checks += [_apparmor(host, apparmor), _tcp(host), _sensor(tier), _disk(audit_log)]
    checks.append(_scanner(scanner, max_database_age_s))
    return Diagnosis(items=checks)


def _check(name: str, ok: bool, detail: str, remedy: str, *, required: bool = False) -> Check:
    return Check(name=name, ok=ok, required=required, detail=detail, remedy="" if ok else remedy)


def _engine(engine: EngineFacts | str) -> Check:
    if isinstance(engine, str):
        return _check("engine", False, engine, "systemctl start docker; journalctl -u docker", required=True)
    return _check("engine", True, f"Docker {engine.version}, API {engine.api_version}", "", required=True)


def _init() -> Check:
    remedy = "install the program again; in a checkout: make setup"
    return _check("init", init.BINARY.is_file(), str(init.BINARY), remedy, required=True)


def _of_engine(engine: EngineFacts) -> Iterator[Check]:
    cgroups = f"v{engine.cgroup_version}, {engine.cgroup_driver} driver"
    yield _check("cgroups", True, cgroups, "", required=True)
    seccomp, swap, users = engine.has_security("seccomp"), engine.swap_limit, engine.has_security("userns")
    filters = "system calls are filtered" if seccomp else "the engine cannot filter system calls"
    yield _check("seccomp", seccomp, filters, "use an engine and a kernel with seccomp", required=True)
    counted = "counted by the kernel" if swap else "not counted: a sandbox may use the host's swap"
    yield _check("swap limit", swap, counted, "boot with swapaccount=1, or use cgroup v2")
    mapped = "mapped to others of the host" if users else "a sandbox's user ids are the host's own"
    remap = 'set "userns-remap": "default" in /etc/docker/daemon.json'
    yield _check("user ids", users, mapped, remap)


def _apparmor(host: HostFacts, profiles: set[str]) -> Check:
    if not host.apparmor:
        return _check("apparmor", False, "not in this kernel", "boot with AppArmor")
    missing = sorted(profiles - host.apparmor_profiles)
    detail = (
        f"not loaded in enforce mode: {', '.join(missing)}"
        if missing
        else f"loaded: {', '.join(sorted(profiles))}"
    )
    return _check("apparmor", not missing, detail, f"apparmor_parser -r {PROFILES}/apparmor/*")


def _tcp(host: HostFacts) -> Check:
    detail = ", ".join(host.engine_tcp) or "the engine listens on no TCP port"
    remedy = "remove -H tcp:// from dockerd: who reaches it is root"
    return _check("engine socket", not host.engine_tcp, detail, remedy)


def _sensor(tier: Tier | None) -> Check:
    """The lower tiers miss what lives for milliseconds."""
    in_kernel = tier in {Tier.EBPF, Tier.LSM}
    remedy = "a kernel with BTF and CAP_BPF, CAP_PERFMON for the daemon; /healthz says why it did not load"
    return _check("sensor", in_kernel, f"best tier: {tier or 'none'}", remedy)


def _disk(audit_log: Path) -> Check:
    files = os.statvfs(audit_log.parent)
    free_bytes = files.f_bavail * files.f_frsize
    detail = f"{free_bytes // MIB} MiB free in {audit_log.parent}"
    remedy = "free space: with a full disk nothing is launched, as nothing can be recorded"
    return _check("audit disk", free_bytes >= ENOUGH_BYTES, detail, remedy)


def _scanner(status: ScannerStatus, max_database_age_s: float | None) -> Check:
    """No database is no trouble where no policy asks for it; a program that judges nothing always is."""
    asked = max_database_age_s is not None
    problem = status.problem or status.database_problem or _old(status, max_database_age_s)
    detail = f"{status.name}: {problem}" if problem else str(status)
    detail += "" if asked else "; the policy asks for no vulnerabilities"
    remedy = "see docs/scanning.md; until then an image counts as `unknown_as` of images.toml says"
    return _check("image scanner", not problem or not (asked or status.problem), detail, remedy)


def _old(status: ScannerStatus, max_age_s: float | None) -> str:
    """How old Grype's database is only its answers tell."""
    if max_age_s is None or status.database_time is None:
        return ""
    return "; ".join(staleness(status.database_time, timedelta(seconds=max_age_s), now()))

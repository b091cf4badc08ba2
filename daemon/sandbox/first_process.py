"""The pid of a container's first process, by its cgroup.

The engine tells it only once its start call is through, some 2 ms after that process began to run.
"""

from __future__ import annotations

from pathlib import Path

from daemon.sandbox.cgroup import Hierarchy, parse_mountinfo
from daemon.sandbox.facts import EngineFacts
from daemon.sandbox.hostconfig import cgroup_parent


def first_pid(container_id: str, engine: EngineFacts, proc: Path = Path("/proc")) -> int | None:
    """None where it cannot be told: no such cgroup here (a rootless engine), or not exactly one process."""
    hierarchies = parse_mountinfo((proc / "self/mountinfo").read_text(errors="surrogateescape"))
    tree = next((h for h in hierarchies if _holds_pids(h, engine.cgroup_version)), None)
    if tree is None:
        return None
    try:
        pids = (tree.mount_point / _path(container_id, engine) / "cgroup.procs").read_text().split()
    except OSError:
        return None
    return int(pids[0]) if len(pids) == 1 else None


def _holds_pids(hierarchy: Hierarchy, version: int) -> bool:
    return hierarchy.version == version and (version == 2 or "pids" in hierarchy.controllers)


def _path(container_id: str, engine: EngineFacts) -> str:
    """As runc lays cgroups out, by the driver of the engine."""
    name = f"docker-{container_id}.scope" if engine.cgroup_driver == "systemd" else container_id
    return f"{cgroup_parent(engine.cgroup_driver).strip('/')}/{name}"

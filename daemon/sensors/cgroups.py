"""Which cgroups are watched: their numbers in the kernel, and the containers that their names tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import SensorError
from daemon.sandbox.cgroup import Hierarchy, parse_mountinfo
from daemon.sensors.abi import CGROUP_PATH_BYTES, PREFIX_BYTES, WATCHED, Watch

_CONTAINER = re.compile(r"(?:^|[-.:_])([0-9a-f]{64})(?:$|\.)")
_V1_CONTROLLERS = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class Tree:
    """The hierarchy that engines put containers in."""

    mount_point: Path
    number: int
    """Which kind, as in `settings` of bpf/sensor.h."""
    hierarchy_id: int

    def directory(self, path: str) -> Path:
        """Raises SensorError for a path that is not absolute in the hierarchy."""
        parts = Path(path).parts
        if not path.startswith("/") or ".." in parts:
            raise SensorError(
                f"{path!r} is no cgroup: give its path from the root of the hierarchy, as /docker"
            )
        return self.mount_point.joinpath(*parts[1:])


def find_tree() -> Tree:
    """The v1 tree of memory or pids if there is one, else cgroup v2. Raises SensorError without either."""
    mounted = _mounted()
    for number, controller in enumerate(_V1_CONTROLLERS, start=1):
        if found := _first(mounted, controller):
            return Tree(found.mount_point, number, _hierarchy_id(controller))
    if found := _unified(mounted):
        return Tree(found.mount_point, 0, 0)
    raise SensorError("no cgroup hierarchy is mounted: mount /sys/fs/cgroup")


def _hierarchy_id(controller: str) -> int:
    """cgroups(7): a line of /proc/self/cgroup is id:controllers:path."""
    for line in Path("/proc/self/cgroup").read_text(errors="surrogateescape").splitlines():
        number, controllers, _ = line.split(":", 2)
        if controller in controllers.split(","):
            return int(number)
    raise SensorError(f"the cgroup hierarchy of {controller} has no number")


def find_unified() -> Path | None:
    """Where the v2 hierarchy is mounted, which egress rules are attached to."""
    found = _unified(_mounted())
    return found.mount_point if found else None


def _mounted() -> list[Hierarchy]:
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return [tree for tree in parse_mountinfo(text) if tree.root == "/"]


def _first(mounted: Iterable[Hierarchy], controller: str) -> Hierarchy | None:
    return next((tree for tree in mounted if controller in tree.controllers), None)


def _unified(mounted: Iterable[Hierarchy]) -> Hierarchy | None:
    return next((tree for tree in mounted if tree.version == 2), None)


def number_of(directory: Path) -> int:
    """The kernel's number (kernfs id) of a cgroup is the inode of its directory."""
    return directory.stat().st_ino


def path_key(path: str) -> bytes:
    """The map's key. Raises SensorError for a path that is too long."""
    raw = path.rstrip("/").encode()
    if len(raw) >= CGROUP_PATH_BYTES:
        raise SensorError(f"the cgroup {path} has a path of more than {CGROUP_PATH_BYTES - 1} bytes")
    return raw.ljust(CGROUP_PATH_BYTES, b"\0")


def container_of(name: str) -> str:
    """The id in `ID`, `docker-ID.scope`, `cri-containerd-ID.scope` ...; the whole name where none is."""
    found = _CONTAINER.search(name)
    return found[1] if found else name


def watched(watch: Watch, prefix: str = "") -> bytes:
    """The map's value. Raises SensorError for a prefix that is too long."""
    raw = prefix.encode()
    if len(raw) >= PREFIX_BYTES:
        raise SensorError(f"the prefix {prefix!r} has more than {PREFIX_BYTES - 1} bytes")
    return WATCHED.pack(watch, len(raw), raw)

"""The options of `docker run` that cases use, as the engine takes them and as our API does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from daemon.units import parse_size


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"docker options: {message}")


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--privileged", action="store_true")
    parser.add_argument("-v", dest="volumes", action="append", default=[])
    parser.add_argument("--pid", default="")
    parser.add_argument("--cap-add", action="append", default=[])
    parser.add_argument("--security-opt", action="append", default=[])
    parser.add_argument("--tmpfs", action="append", default=[])
    parser.add_argument("--pids-limit", type=int)
    parser.add_argument("--memory", type=parse_size)
    parser.add_argument("--memory-swap", type=parse_size)
    parser.add_argument("--cpus", type=float)
    return parser


@dataclass(frozen=True)
class DockerOptions:
    privileged: bool
    volumes: list[str]
    pid: str
    cap_add: list[str]
    security_opt: list[str]
    tmpfs: list[str]
    pids_limit: int | None
    memory: int | None
    memory_swap: int | None
    cpus: float | None

    def host_config(self) -> dict[str, Any]:
        """As `POST /containers/create` of the Engine API takes it."""
        return {
            "Privileged": self.privileged,
            "Binds": list(self.volumes),
            "PidMode": self.pid,
            "CapAdd": list(self.cap_add),
            "SecurityOpt": list(self.security_opt),
            "Tmpfs": dict(mount.split(":", 1) for mount in self.tmpfs),
            "PidsLimit": self.pids_limit,
            "Memory": self.memory or 0,
            "MemorySwap": self.memory_swap or 0,
            "NanoCpus": round((self.cpus or 0) * 1e9),
        }

    def weakening(self) -> dict[str, Any]:
        """What of it weakens a sandbox, as `POST /v1/sandboxes` takes it; empty if nothing does.

        Limits and tmpfs mounts are left out: limits only tighten, and the API has no word for the others.
        """
        asked: dict[str, Any] = {
            "privileged": self.privileged,
            "mounts": [_mount(volume) for volume in self.volumes],
            "host_namespaces": ["pid"] if self.pid == "host" else [],
            "capabilities": self.cap_add,
        }
        asked |= dict(option.split("=", 1) for option in self.security_opt)
        return {name: value for name, value in asked.items() if value}


def _mount(volume: str) -> dict[str, Any]:
    source, target, *flags = volume.split(":")
    return {"source": source, "target": target, "read_only": "ro" in flags}


def parse(arguments: Sequence[str]) -> DockerOptions:
    """Raises ValueError for an option that is not in the table above."""
    return DockerOptions(**vars(_parser().parse_args(list(arguments))))

"""What the engine and the host are, as far as a verdict depends on it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """From `GET /images/{name}/json`; `id` is "sha256:..."."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    volumes: tuple[str, ...]
    healthcheck: bool
    size_bytes: int

    @property
    def local(self) -> bool:
        """Built or imported on this host: no registry ever named its content."""
        return not self.digests

    @classmethod
    def of(cls, inspected: dict[str, Any]) -> ImageFacts:
        config = inspected.get("Config") or {}
        return cls(
            id=inspected["Id"],
            tags=tuple(inspected.get("RepoTags") or ()),
            digests=tuple(inspected.get("RepoDigests") or ()),
            user=config.get("User") or "",
            env=tuple(config.get("Env") or ()),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            volumes=tuple(sorted(config.get("Volumes") or ())),
            healthcheck=bool((config.get("Healthcheck") or {}).get("Test")),
            size_bytes=int(inspected.get("Size") or 0),
        )


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """From `GET /info` and `GET /version`."""

    version: str
    api_version: str
    runtime_version: str
    kernel: str
    cgroup_driver: str
    cgroup_version: int
    security_options: tuple[str, ...]
    runtimes: tuple[str, ...]
    default_runtime: str
    live_restore: bool
    swarm: bool
    swap_limit: bool
    warnings: tuple[str, ...]
    root_dir: str = ""
    """Where it keeps its state; "" where it does not say."""

    def has_security(self, name: str) -> bool:
        """Whether the engine itself has `seccomp`, `apparmor`, `userns`, `rootless`, `selinux` ..."""
        return any(option.split(",")[0] == f"name={name}" for option in self.security_options)

    @classmethod
    def of(cls, info: dict[str, Any], version: dict[str, Any]) -> EngineFacts:
        components = {part["Name"]: part["Version"] for part in version.get("Components") or ()}
        return cls(
            version=version.get("Version", ""),
            api_version=version.get("ApiVersion", ""),
            runtime_version=components.get("runc", ""),
            kernel=info.get("KernelVersion", ""),
            cgroup_driver=info.get("CgroupDriver", ""),
            cgroup_version=int(info.get("CgroupVersion") or 1),
            security_options=tuple(info.get("SecurityOptions") or ()),
            runtimes=tuple(sorted(info.get("Runtimes") or ())),
            default_runtime=info.get("DefaultRuntime", ""),
            live_restore=bool(info.get("LiveRestoreEnabled")),
            swarm=(info.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive",
            swap_limit=bool(info.get("SwapLimit")),
            warnings=tuple(info.get("Warnings") or ()),
            root_dir=info.get("DockerRootDir", ""),
        )


@dataclass(frozen=True, slots=True)
class HostFacts:
    """From /sys, /proc and the engine's own command line."""

    apparmor: bool
    apparmor_profiles: frozenset[str]
    """Those that are enforced."""
    unmitigated: tuple[str, ...]
    engine_tcp: tuple[str, ...]

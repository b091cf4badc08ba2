"""What one sandbox may be: every departure from it is a finding."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMount:
    target: str
    source: str
    """The host's path of a bind mount; "" for a file system of its own (overlay, tmpfs, proc ...)."""
    filesystem: str
    device: int = 0
    """major << 20 | minor, 0 while unknown."""
    read_only: bool = False
    executable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """From profile and request for a sandbox that the daemon launched, from inspect data for others.

    Those others were configured by somebody else: what they were given (a privileged container's devices,
    a host mount) is expected of them in the sense of "known", yet its use is still a way out and reported.
    """

    container_id: str
    sandbox_id: str | None = None
    """None for a container that the daemon did not launch."""
    session_id: str = ""
    profile: str = ""
    image: str = ""
    started_ns: int = 0
    """CLOCK_REALTIME of the first exec inside."""
    uid: int = 0
    capabilities: int = 0
    """Mask of what its processes may have in any set."""
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: bool = True
    read_only_root: bool = False
    host_namespaces: frozenset[str] = frozenset()
    """Of "pid", "net", "ipc", "uts", "user", "cgroup", "mnt"."""
    mounts: tuple[ExpectedMount, ...] = ()
    devices: frozenset[int] = frozenset()
    """Device numbers that it was given beyond the standard ones."""
    networking: bool = False
    egress: tuple[IPv4Network | IPv6Network, ...] | None = None
    """None: anywhere, if `networking`."""
    fresh_exec: bool = True
    """Whether running a file that is not the image's is in order: executable workspace, writable root."""
    exec_allowed: bool = True
    """Whether a second program may be started in it from outside."""

    @property
    def managed(self) -> bool:
        return self.sandbox_id is not None

    def has(self, capability: int) -> bool:
        return bool(self.capabilities >> capability & 1)

    def mount_of(self, path: str) -> ExpectedMount | None:
        """The one that `path`, absolute inside the sandbox, lies in."""
        found = [m for m in self.mounts if _below(path, m.target)]
        return max(found, key=lambda m: len(m.target), default=None)

    def host_path(self, path: str) -> str | None:
        """Where `path` is on the host if it lies in a bind mount."""
        mount = self.mount_of(path)
        if mount is None or not mount.source:
            return None
        return mount.source.rstrip("/") + path[len(mount.target.rstrip("/")) :]


def _below(path: str, folder: str) -> bool:
    return folder in ("/", path) or path.startswith(folder.rstrip("/") + "/")

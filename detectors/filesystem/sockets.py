"""Well-known sockets by which containers are made and managed."""

from __future__ import annotations

import posixpath
import re

NAMES = frozenset(
    {
        *("docker.sock", "containerd.sock", "containerd.sock.ttrpc", "crio.sock", "podman.sock"),
        *("cri-dockerd.sock", "dockershim.sock", "frakti.sock", "buildkitd.sock", "docker-containerd.sock"),
        *("k3s.sock", "kubelet.sock", "nri.sock", "lxd.socket", "incus.socket"),
    }
)
OWN = re.compile(r"(?:/var)?/run/container-kit/")
SHIM = re.compile(r"@(?:/containerd-shim/|containerd-shim)|(?:/var)?/run/containerd/s/")
"""containerd-shim listened on abstract sockets, which are of the network namespace (CVE-2020-15257)."""


def is_engine(path: str) -> bool:
    return posixpath.basename(path) in NAMES or OWN.match(path) is not None or SHIM.match(path) is not None

"""Which paths of the host lead to control of it when a container has them."""

from __future__ import annotations

import re

from daemon.expectation import Expectation
from detectors.filesystem.paths import below

WHOLE = frozenset(
    {
        *("/", "/home", "/var", "/var/lib", "/var/log", "/root", "/mnt", "/media", "/opt", "/srv"),
        *("/bin", "/sbin", "/lib", "/lib64", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local"),
    }
)
"""Dangerous as such; a folder in them may be anybody's."""
PARTS = (
    *("/etc", "/boot", "/proc", "/sys", "/dev", "/run", "/var/run", "/var/spool/cron"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/crio", "/var/lib/kubelet"),
    *("/var/lib/container-kit", "/var/lib/etcd", "/usr/lib/systemd"),
)
"""Dangerous with all that is below."""
KEPT_SECRET = re.compile(r"/(?:root|home/[^/]+)/\.(?:ssh|aws|azure|config|docker|gnupg|kube)(?:/|\Z)")
ORDINARY = re.compile(
    r"""
    /etc/(?:localtime|timezone|resolv\.conf|hosts|hostname|machine-id|os-release|locale|ssl|pki|ca-certificates
        |fonts|alternatives|ld\.so\.cache|nsswitch\.conf|protocols|services|krb5\.conf|gai\.conf)(?:/|\Z)
    | /dev/(?:shm|null|zero|full|random|urandom|log|fuse|net/tun|dri|snd|nvidia[^/]*)(?:/|\Z)
    | (?:/var)?/run/(?:user/\d+|systemd/journal|udev|dbus)(?:/|\Z)
    | /sys/fs/cgroup(?:/|\Z)
    | /var/lib/(?:docker|containerd|containers)/.*(?:volumes/[^/]+/_data|containers/[0-9a-f]{64})(?:/|\Z)
    """,
    re.VERBOSE,
)
"""Given to containers day by day, or made by the engine for them."""
CONTROL = re.compile(
    r"""
    /etc/(?:g?shadow-?|sudoers(?:\.d)?|ssh|cron[^/]*|systemd|ld\.so\.preload|profile\.d|pam\.d)(?:/|\Z)
    | /etc/(?:kubernetes|docker|rancher|container-kit)(?:/|\Z)
    | /(?:root|home/[^/]+)/\.(?:ssh|kube|docker|aws|azure|config)(?:/|\Z)
    | /var/spool/cron(?:/|\Z) | /var/lib/(?:kubelet|etcd|container-kit)(?:/|\Z)
    | /proc/(?:sys|sysrq-trigger|kcore|\d+)(?:/|\Z) | /boot(?:/|\Z)
    """,
    re.VERBOSE,
)
"""Reading or writing these gives the host itself."""
SECRET = re.compile(
    r"""
    /etc/(?:g?shadow-?|sudoers(?:\.d)?)(?:/|\Z) | /(?:root|home/[^/]+)/\.(?:ssh|aws|kube|docker)(?:/|\Z)
    | /proc/(?:sys|sysrq-trigger|kcore)(?:/|\Z) | /dev/(?:k?mem|port|[shv]d[a-z]|nvme)
    """,
    re.VERBOSE,
)
"""What nobody links to for convenience."""
OURS = ("/var/lib/container-kit", "/run/container-kit")


def is_dangerous(source: str, sandbox: Expectation) -> bool:
    """Of a mount's source."""
    if sandbox.managed and below(source, *OURS):
        return False
    if ORDINARY.match(source):
        return False
    return source in WHOLE or below(source, *PARTS) or KEPT_SECRET.match(source) is not None


def gives_control(path: str) -> bool:
    return CONTROL.match(path) is not None


def is_secret(path: str) -> bool:
    return SECRET.match(path) is not None

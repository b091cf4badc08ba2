"""Paths of the host inside the sandbox."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from daemon.sandbox import init
from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

# Whoever holds one of these, or a folder above it, holds the host.
DANGEROUS = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt/container-kit",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/container-kit",
    "/var/lib/crio",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/run",
    "/var/spool/cron",
)
SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "podman.sock", "api.sock")
OWN_TARGETS = ("/", "/proc", "/sys", "/dev", "/etc", "/workspace", "/tmp", "/var/tmp", init.MOUNT_POINT)  # noqa: S108
PRIVATE = {"private", "rprivate"}


def check(subject: Subject) -> Iterator[Verdict]:
    mounts = [mount for mount in subject.host_config["Mounts"] if not _is_init(mount)]
    for mount in mounts:
        yield from _judge(mount, subject.profile.mounts.value)
    if not mounts:
        yield Control(id="mounts", detail="no path of the host but the init, read-only")


def _is_init(mount: dict[str, Any]) -> bool:
    return bool(
        mount["Source"] == str(init.BINARY) and mount["Target"] == init.MOUNT_POINT and mount["ReadOnly"]
    )


def _judge(mount: dict[str, Any], allowed: list[str]) -> Iterator[Threat]:
    source, target = mount["Source"], mount["Target"]
    if why := _danger(source, target, mount["BindOptions"]["Propagation"]):
        yield Threat(
            id="mount.dangerous",
            severity=RiskLevel.CRITICAL,
            reason=f"dangerous mount detected: {source} ({why})",
            remedy="put files in through the workspace instead",
            cis="5.32" if why == "a socket" else "5.6",
            attack="T1611",
        )
    elif not any(_below(os.path.realpath(source), _plain(prefix)) for prefix in allowed):
        yield _refused(
            "mount.profile", f"mount not in profile: {source}", "put files in through the workspace"
        )
    elif not mount["ReadOnly"]:
        yield _refused("mount.writable", f"writable mount: {source}", "mount it read-only")


def _refused(rule: str, reason: str, remedy: str) -> Threat:
    return Threat(id=rule, severity=RiskLevel.HIGH, reason=reason, remedy=remedy, cis="5.6", attack="T1611")


def _danger(source: str, target: str, propagation: str) -> str | None:
    source, target = _plain(source), _plain(target)
    try:
        real = _plain(os.path.realpath(source))
    except OSError as error:  # a link of /proc that may not be read
        return f"cannot be resolved: {error.strerror}"
    if real.rpartition("/")[2] in SOCKETS or _kind(real) == stat.S_IFSOCK:
        return "a socket"
    if _kind(real) in {stat.S_IFBLK, stat.S_IFCHR}:
        return "a device"
    if any(_below(path, top) or _below(top, path) for top in DANGEROUS for path in (source, real)):
        return "a part of the host that leads to control of it"
    if any(_below(top, target) or (top != "/" and _below(target, top)) for top in OWN_TARGETS):
        return f"it would cover {target} of the sandbox"
    return None if propagation in PRIVATE else "mounts would propagate"


def _below(path: str, top: str) -> bool:
    """Of plain paths."""
    return path == top or path.startswith(f"{top.rstrip('/')}/")


def _plain(path: str) -> str:
    """POSIX lets "//proc" be another place than "/proc", so normpath keeps both slashes; Linux does not."""
    return "/" + os.path.normpath(path).lstrip("/")


def _kind(path: str) -> int:
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116  # the mode of what it leads to
    except OSError:
        return 0

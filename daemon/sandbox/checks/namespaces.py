"""Namespaces of the host: sharing one is seeing, and mostly touching, what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

# Key of the host configuration, name, what sharing gives away, CIS item.
SHARED = (
    (
        "PidMode",
        "pid",
        RiskLevel.CRITICAL,
        "processes of the host can be seen, traced and entered through /proc",
        "5.16",
    ),
    (
        "NetworkMode",
        "net",
        RiskLevel.CRITICAL,
        "loopback services and abstract sockets of the host are reachable",
        "5.10",
    ),
    ("UsernsMode", "user", RiskLevel.CRITICAL, "user ids are the host's own", "5.31"),
    (
        "IpcMode",
        "ipc",
        RiskLevel.HIGH,
        "shared memory of the host's programs can be read and changed",
        "5.17",
    ),
    ("UTSMode", "uts", RiskLevel.HIGH, "the host's name can be read, and changed with a capability", "5.21"),
    ("CgroupnsMode", "cgroup", RiskLevel.HIGH, "the host's cgroup tree is visible", "5.25"),
)


def check(subject: Subject) -> Iterator[Verdict]:
    host = subject.host_config
    for key, name, severity, effect, cis in SHARED:
        mode = host[key]
        if mode == "host" or mode.startswith("container:"):
            yield Threat(
                id=f"namespace.{name}",
                severity=severity,
                reason=f"{name} namespace of the host: {effect}",
                remedy=f"take {name!r} out of `host_namespaces`",
                cis=cis,
                attack="T1611",
            )
        else:
            yield Control(
                id=f"namespace.{name}",
                detail=f"{name} namespace of its own" if mode != "" else "not the host's",
            )

"""What a container may be, from its inspect data (Engine API, "Inspect a container")."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from daemon.expectation import Expectation, ExpectedMount
from daemon.sandbox.hostconfig import networked
from daemon.sandbox.options import SandboxOptions
from daemon.sandbox.profile import Profile

# capabilities(7) in the order of their numbers (include/uapi/linux/capability.h).
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
# What the Docker Engine gives where nothing is said (moby, oci/caps/defaults.go).
DEFAULT = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
]
_NAMESPACE_MODES = {
    "pid": "PidMode",
    "net": "NetworkMode",
    "ipc": "IpcMode",
    "uts": "UTSMode",
    "user": "UsernsMode",
    "cgroup": "CgroupnsMode",
}


def of_inspected(inspected: dict[str, Any]) -> Expectation:
    """Of a container that somebody else configured, whatever its labels say: anybody can write those."""
    config, host = inspected.get("Config") or {}, inspected.get("HostConfig") or {}
    security = host.get("SecurityOpt") or []
    return Expectation(
        container_id=inspected["Id"],
        image=config.get("Image") or "",
        uid=_uid(config.get("User") or ""),
        capabilities=_capabilities(host),
        privileged=bool(host.get("Privileged")),
        no_new_privileges=any(
            o.startswith("no-new-privileges") and not o.endswith("false") for o in security
        ),
        seccomp="seccomp=unconfined" not in security and not host.get("Privileged"),
        read_only_root=bool(host.get("ReadonlyRootfs")),
        host_namespaces=_host_namespaces(host),
        mounts=_mounts(inspected, host),
        devices=frozenset(),
        networking=_networking(config, host),
    )


def of_launched(
    container_id: str, body: dict[str, Any], sandbox_id: str, options: SandboxOptions, profile: Profile
) -> Expectation:
    """Of a sandbox of the daemon's own: the same data, from the create body, and what its profile adds."""
    expected = of_inspected({"Id": container_id, "Config": body, "HostConfig": body["HostConfig"]})
    return replace(
        expected,
        sandbox_id=sandbox_id,
        session_id=options.session_id or sandbox_id,
        profile=profile.name,
        image=options.image,
        networking=networked(options, profile),
        fresh_exec=profile.workspace_exec.value,
        exec_allowed=False,
    )


def _uid(user: str) -> int:
    """A name is one that only the image can tell: taken for root, so that no uid is a departure."""
    number = user.partition(":")[0]
    return int(number) if number.isdigit() else 0


def _capabilities(host: dict[str, Any]) -> int:
    if host.get("Privileged"):
        return (1 << len(CAPABILITIES)) - 1
    dropped = _names(host.get("CapDrop"))
    added = _names(host.get("CapAdd"))
    names = set() if "ALL" in dropped else set(DEFAULT) - dropped
    names |= (set(CAPABILITIES) - dropped) if "ALL" in added else added
    return sum(1 << number for number, name in enumerate(CAPABILITIES) if name in names)


def _names(capabilities: list[str] | None) -> set[str]:
    return {name.upper().removeprefix("CAP_") for name in capabilities or ()}


def _host_namespaces(host: dict[str, Any]) -> frozenset[str]:
    return frozenset(name for name, key in _NAMESPACE_MODES.items() if host.get(key) == "host")


def _networking(config: dict[str, Any], host: dict[str, Any]) -> bool:
    return not config.get("NetworkDisabled") and host.get("NetworkMode") != "none"


def _mounts(inspected: dict[str, Any], host: dict[str, Any]) -> tuple[ExpectedMount, ...]:
    mounts = [ExpectedMount(target="/", source="", filesystem="overlay")]
    mounts += [
        ExpectedMount(target=target, source="", filesystem="tmpfs", executable="noexec" not in options)
        for target, options in (host.get("Tmpfs") or {}).items()
    ]
    mounts += [_mount(mount) for mount in inspected.get("Mounts") or host.get("Mounts") or ()]
    return tuple(mounts)


def _mount(mount: dict[str, Any]) -> ExpectedMount:
    """As inspect has it (Destination, RW), or as a create body has it (Target, ReadOnly)."""
    return ExpectedMount(
        target=mount.get("Destination") or mount.get("Target") or "/",
        source=mount.get("Source") or "",
        filesystem="bind",
        read_only=mount["ReadOnly"] if "ReadOnly" in mount else not mount.get("RW", True),
    )

"""The create body: exactly what the engine is asked for, and exactly what the validator judges."""

from __future__ import annotations

from typing import Any

from daemon.errors import RequestError
from daemon.sandbox import init, seccomp
from daemon.sandbox.environment import Environment
from daemon.sandbox.facts import EngineFacts, ImageFacts
from daemon.sandbox.options import Mount, SandboxOptions
from daemon.sandbox.profile import Profile

WORKSPACE = "/workspace"
TMPFS_TMP = ("/tmp", "/var/tmp")  # noqa: S108  # paths inside the sandbox
HOSTNAME = "sandbox"

# One inode of tmpfs costs about 1 KiB of kernel memory: a million empty files must not be free.
BYTES_PER_INODE = 4096
MIN_INODES = 1024

# Docker's own list, and files of no use to a program that tell about the host or its other users.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")


def networked(options: SandboxOptions, profile: Profile) -> bool:
    """A network needs three yeses: the request needs it, its policy allows it, the profile has it."""
    return (
        options.require_networking and options.security_policy.allow_networking and profile.networking.value
    )


def argv(options: SandboxOptions, image: ImageFacts) -> list[str]:
    """As Docker does it: naming a program drops the image's arguments too. Raises RequestError."""
    if options.command:
        return [*options.command, *options.args]
    found = [*image.entrypoint, *(options.args or image.cmd)]
    if not found:
        raise RequestError("command: the image has none of its own: name the program to run")
    return found


def create_body(
    options: SandboxOptions,
    profile: Profile,
    image: ImageFacts,
    engine: EngineFacts,
    environment: Environment,
    *,
    apparmor: str | None,
    resolver: str | None = None,
) -> dict[str, Any]:
    """`apparmor` is the name of a loaded profile, or None where the kernel or the host has none; `resolver`
    is whom the sandbox asks for names, by default the engine's choice.

    Nothing of it depends on the sandbox's id: equal requests have equal bodies.
    """
    body: dict[str, Any] = {
        "Image": image.id,
        "Entrypoint": [init.MOUNT_POINT],
        "Cmd": argv(options, image),
        "User": f"{options.user}:{options.group}",
        "WorkingDir": options.working_dir,
        "Env": list(environment.variables),
        "Hostname": HOSTNAME,
        "Healthcheck": {"Test": ["NONE"]},
        # A terminal is the engine's; else it has no part in what is read and written.
        "OpenStdin": options.tty,
        "StdinOnce": options.tty,
        "AttachStdin": options.tty,
        "AttachStdout": options.tty,
        "AttachStderr": options.tty,
        "Tty": options.tty,
        "NetworkDisabled": not networked(options, profile) and "net" not in options.host_namespaces,
        "Labels": dict(options.labels),
        "HostConfig": _host_config(options, profile, engine, apparmor),
    }
    if resolver is not None:
        body["HostConfig"] |= {"Dns": [resolver], "DnsSearch": ["."], "DnsOptions": []}
    for volume in image.volumes:
        body["HostConfig"]["Tmpfs"].setdefault(
            volume, _tmpfs(options, options.limits.tmp_size, executable=False)
        )
    return body


def _host_config(
    options: SandboxOptions, profile: Profile, engine: EngineFacts, apparmor: str | None
) -> dict[str, Any]:
    host = options.host_namespaces
    return {
        "Privileged": options.privileged,
        "CapDrop": ["ALL"],
        "CapAdd": [name.removeprefix("CAP_") for name in options.capabilities],
        "SecurityOpt": _security(options, profile, apparmor),
        "ReadonlyRootfs": options.read_only_root,
        "MaskedPaths": list(MASKED_PATHS),
        "ReadonlyPaths": list(READONLY_PATHS),
        "NetworkMode": "host" if "net" in host else _network(options, profile),
        "PidMode": "host" if "pid" in host else "",
        "IpcMode": "host" if "ipc" in host else "private",
        "UTSMode": "host" if "uts" in host else "",
        "UsernsMode": "host" if "user" in host else "",
        "CgroupnsMode": "host" if "cgroup" in host else "private",
        "Devices": [_device(path) for path in options.devices],
        "Tmpfs": _tmpfs_mounts(options, profile),
        "Mounts": [_init_mount(), *map(_bind, options.mounts)],
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none"},
        "CgroupParent": cgroup_parent(engine.cgroup_driver),
        "OomScoreAdj": 500,
        **({"Runtime": options.runtime} if options.runtime else {}),
        **_resources(options),
    }


def cgroup_parent(driver: str) -> str:
    """One parent that the daemon owns for all its sandboxes; a dash in a slice's name would nest it."""
    return "containerkit.slice" if driver == "systemd" else "/container-kit"


def _resources(options: SandboxOptions) -> dict[str, Any]:
    limits = options.limits
    return {
        "NanoCpus": round(limits.cpus * 1e9),
        "Memory": limits.memory,
        "MemorySwap": limits.swap_total,
        "PidsLimit": limits.pids,
        "Ulimits": [
            {"Name": "nofile", "Soft": limits.nofile, "Hard": limits.nofile},
            {"Name": "core", "Soft": limits.core, "Hard": limits.core},
        ],
        "ShmSize": min(64 << 20, limits.memory),
    }


def _security(options: SandboxOptions, profile: Profile, apparmor: str | None) -> list[str]:
    flags = ["no-new-privileges:true"] if options.no_new_privileges else []
    flags.append(f"seccomp={_seccomp(options, profile)}")
    if options.apparmor == "unconfined":
        flags.append("apparmor=unconfined")
    elif apparmor:
        flags.append(f"apparmor={apparmor}")
    return flags


def _seccomp(options: SandboxOptions, profile: Profile) -> str:
    return "unconfined" if options.seccomp == "unconfined" else seccomp.load(profile.seccomp.value)


def _network(options: SandboxOptions, profile: Profile) -> str:
    return profile.network.value if networked(options, profile) else "none"


def _tmpfs_mounts(options: SandboxOptions, profile: Profile) -> dict[str, str]:
    limits = options.limits
    mounts = {path: _tmpfs(options, limits.tmp_size, executable=False, mode="1777") for path in TMPFS_TMP}
    mounts[WORKSPACE] = _tmpfs(options, limits.workspace_size, executable=profile.workspace_exec.value)
    return mounts


def _tmpfs(options: SandboxOptions, size_bytes: int, *, executable: bool, mode: str = "0700") -> str:
    """Owner and mode are set: old runc takes them from the image's directory of that name."""
    inodes = max(MIN_INODES, size_bytes // BYTES_PER_INODE)
    owner = f"uid={options.user},gid={options.group},mode={mode}"
    return (
        f"rw,{'exec' if executable else 'noexec'},nosuid,nodev,size={size_bytes},nr_inodes={inodes},{owner}"
    )


def _init_mount() -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(init.BINARY),
        "Target": init.MOUNT_POINT,
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _bind(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": mount.propagation},
    }


def _device(path: str) -> dict[str, str]:
    return {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}

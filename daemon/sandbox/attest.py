"""What the kernel says the sandbox is, compared with what was asked, before its first instruction.

Sources: proc_pid_status(5), proc_pid_mountinfo(5), namespaces(7), cgroups(7). Everything is read from
outside; pid 1 of the sandbox is our init, waiting for its go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from daemon.sandbox import init
from daemon.sandbox.cgroup import Limits

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
SECCOMP_FILTER = "2"


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that is not as it was asked for."""

    name: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.name} is {self.actual}, asked for {self.expected}"


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A line of mountinfo: where, of what type, and with which options of the mount and the file system."""

    target: str
    kind: str
    root: str
    """What of the file system is seen there."""
    options: frozenset[str]


@dataclass(frozen=True, slots=True)
class Observed:
    """What /proc and the cgroup say of one process."""

    root: str
    """Its root directory, as a path of the host's."""
    status: dict[str, str]
    executable: tuple[int, int]
    namespaces: dict[str, str]
    mounts: dict[str, MountPoint]
    interfaces: frozenset[str]
    open_files: str
    core: str
    apparmor: str
    limits: Limits


def observe(pid: int, limits: Limits) -> Observed:
    """`limits` are those of its cgroup. Raises OSError if the process is gone."""
    proc = f"/proc/{pid}"
    executable = os.stat(f"{proc}/exe")  # noqa: PTH116  # a launch waits, and paths as objects take as long again
    process_limits = _process_limits(_read(f"{proc}/limits"))
    return Observed(
        root=f"{proc}/root",
        status=_fields(_read(f"{proc}/status")),
        executable=(executable.st_dev, executable.st_ino),
        namespaces=_namespaces(proc),
        mounts=parse_mountinfo(_read(f"{proc}/mountinfo")),
        interfaces=_interfaces(_read(f"{proc}/net/dev")),
        open_files=process_limits.get("Max open files", ""),
        core=process_limits.get("Max core file size", ""),
        apparmor=_apparmor(proc),
        limits=limits,
    )


def differences(body: dict[str, Any], seen: Observed) -> list[Difference]:
    """Every property of the create body that the kernel can be asked about and that it does not confirm."""
    checks = (_identity, _privileges, _namespace_set, _mount_set, _mask_set, _network, _limits)
    return [difference for check in checks for difference in check(body, seen)]


def _differ(name: str, expected: object, actual: object) -> Iterator[Difference]:
    if expected != actual:
        yield Difference(name, str(expected), str(actual))


def _identity(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    user, _, group = body["User"].partition(":")
    binary = init.BINARY.stat()
    yield from _differ("program of pid 1", (binary.st_dev, binary.st_ino), seen.executable)
    yield from _differ("uid", [user] * 4, seen.status["Uid"].split())
    yield from _differ("gid", [group] * 4, seen.status["Gid"].split())
    yield from _differ("supplementary groups", [], [g for g in seen.status["Groups"].split() if g != group])


def _privileges(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    if not body["HostConfig"]["CapAdd"]:
        for name in CAPABILITY_SETS:
            yield from _differ(name, 0, int(seen.status[name], 16))
    yield from _differ("NoNewPrivs", "1", seen.status["NoNewPrivs"])
    yield from _differ("Seccomp", SECCOMP_FILTER, seen.status["Seccomp"])
    if (filters := seen.status.get("Seccomp_filters")) is not None:
        yield from _differ("seccomp filter", True, int(filters) > 0)
    wanted = [flag for flag in body["HostConfig"]["SecurityOpt"] if flag.startswith("apparmor=")]
    if wanted:
        yield from _differ(
            "AppArmor profile", wanted[0].removeprefix("apparmor=") + " (enforce)", seen.apparmor
        )


def _namespace_set(_: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    hosts = _hosts_namespaces()
    for name in NAMESPACES:
        if seen.namespaces[name] in hosts[name]:
            yield Difference(f"{name} namespace", "its own", "the host's")


def _mount_set(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    yield from _flags(seen, "/", {"ro"})
    for target, options in body["HostConfig"]["Tmpfs"].items():
        yield from _flags(seen, target, {"nosuid", "nodev", *({"noexec"} & set(options.split(",")))})
        if target in seen.mounts:
            yield from _differ(f"type of {target}", "tmpfs", seen.mounts[target].kind)
    for mount in body["HostConfig"]["Mounts"]:
        yield from _flags(seen, mount["Target"], {"ro"} if mount["ReadOnly"] else set())
    expected = {
        "/",
        *body["HostConfig"]["Tmpfs"],
        *(mount["Target"] for mount in body["HostConfig"]["Mounts"]),
    }
    yield from _differ(
        "unexpected mounts", [], sorted(path for path in seen.mounts if not _known(path, expected))
    )


# The engine itself mounts these; below /proc and /sys are masks, read-only views and the cgroup tree.
_ENGINE_MOUNTS = ("/proc", "/sys", "/dev")
_ENGINE_FILES = frozenset({"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"})


def _known(path: str, expected: set[str]) -> bool:
    if path in expected or path in _ENGINE_FILES:
        return True
    return any(path == top or path.startswith(top + "/") for top in _ENGINE_MOUNTS)


def _flags(seen: Observed, target: str, wanted: set[str]) -> Iterator[Difference]:
    mount = seen.mounts.get(target)
    if mount is None:
        yield Difference(f"mount {target}", "present", "missing")
        return
    if missing := wanted - mount.options:
        yield Difference(
            f"flags of {target}", ",".join(sorted(wanted)), f"without {','.join(sorted(missing))}"
        )


def _mask_set(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    """A runtime can be tricked into another mask than it wanted to lay (CVE-2025-31133)."""
    for path in body["HostConfig"]["MaskedPaths"]:
        mount = seen.mounts.get(path)
        if mount is None:
            yield from _there(seen, path, "masked")
        elif mount.root != "/null" and not (mount.kind == "tmpfs" and "ro" in mount.options):
            yield Difference(path, "masked", f"{mount.root} of {mount.kind}")
    for path in body["HostConfig"]["ReadonlyPaths"]:
        if path in seen.mounts:
            yield from _flags(seen, path, {"ro"})
        else:
            yield from _there(seen, path, "read-only")


def _there(seen: Observed, path: str, expected: str) -> Iterator[Difference]:
    """What this kernel does not have needs no mask."""
    if os.path.lexists(seen.root + path):
        yield Difference(path, expected, "as the kernel has it")


def _network(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    if body["NetworkDisabled"]:
        yield from _differ("network devices", ["lo"], sorted(seen.interfaces))


def _limits(body: dict[str, Any], seen: Observed) -> Iterator[Difference]:
    host = body["HostConfig"]
    yield from _differ("memory limit", host["Memory"] // 4096 * 4096, seen.limits.memory_bytes)
    if seen.limits.memory_swap_bytes is not None:
        yield from _differ(
            "memory and swap limit", host["MemorySwap"] // 4096 * 4096, seen.limits.memory_swap_bytes
        )
    yield from _differ("pids limit", host["PidsLimit"], seen.limits.pids)
    yield from _differ("cpu quota", host["NanoCpus"], _nano_cpus(seen.limits))
    ulimits = {limit["Name"]: str(limit["Hard"]) for limit in host["Ulimits"]}
    yield from _differ("open files limit", ulimits["nofile"], seen.open_files)
    yield from _differ("core size limit", ulimits["core"], seen.core)


def _nano_cpus(limits: Limits) -> int | None:
    """Docker turns NanoCpus into a quota of whole microseconds: compare what it can express."""
    if limits.cpu_quota_us is None or limits.cpu_period_us is None:
        return None
    return limits.cpu_quota_us * 1_000_000_000 // limits.cpu_period_us


def _fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@cache
def _hosts_namespaces() -> dict[str, set[str]]:
    """This process's and those of the host's first one: under systemd a service has mounts of its own."""
    found = [_namespaces("/proc/self")]
    with suppress(PermissionError):  # in a container, where there may be no more of the host than we are
        found.append(_namespaces("/proc/1"))
    return {name: {namespaces[name] for namespaces in found} for name in NAMESPACES}


def _namespaces(proc: str) -> dict[str, str]:
    return {name: os.readlink(f"{proc}/ns/{name}") for name in NAMESPACES}  # noqa: PTH115  # as above


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # as above
        return file.readall().decode()


def parse_mountinfo(text: str) -> dict[str, MountPoint]:
    """By mount point; of mounts stacked on one point, the topmost."""
    mounts = {}
    for line in text.splitlines():
        fields = line.split(" ")
        kind, _, super_options = fields[fields.index("-") + 1 :]
        options = frozenset(fields[5].split(",")) | ({"ro"} & set(super_options.split(",")))
        target = _unescape(fields[4])
        mounts[target] = MountPoint(target, kind, fields[3], options)
    return mounts


def _unescape(path: str) -> str:
    return path.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in path else path


def _interfaces(text: str) -> frozenset[str]:
    return frozenset(line.partition(":")[0].strip() for line in text.splitlines()[2:])


def _process_limits(text: str) -> dict[str, str]:
    """Name -> hard limit; columns are fixed: the name takes 26 characters, each limit 21."""
    return {line[:26].strip(): line[47:68].strip() for line in text.splitlines()[1:]}


def _apparmor(proc: str) -> str:
    try:
        return _read(f"{proc}/attr/current").strip("\0\n ")
    except OSError:
        return ""  # the kernel has no security module with labels

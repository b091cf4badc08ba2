"""Capabilities (capabilities(7)): each of the dangerous ones with what it opens."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

# Each leads to the host's kernel, devices, files or other processes: a way out by itself.
ESCAPES = {
    "ALL": "every one of them",
    "BPF": "loads programs into the kernel",
    "CHECKPOINT_RESTORE": "chooses process ids and reads /proc/*/map_files",
    "DAC_OVERRIDE": "ignores file permissions",
    "DAC_READ_SEARCH": "opens files of the host by handle",
    "MAC_ADMIN": "changes the policy of the security module",
    "MAC_OVERRIDE": "ignores the policy of the security module",
    "MKNOD": "makes device nodes of the host's disks",
    "NET_ADMIN": "reconfigures network devices and firewalls",
    "NET_RAW": "forges and sniffs packets",
    "PERFMON": "reads kernel memory through perf events",
    "SETFCAP": "gives capabilities to files",
    "SETGID": "becomes any group",
    "SETUID": "becomes any user",
    "SYSLOG": "reads kernel addresses",
    "SYS_ADMIN": "mounts, enters namespaces, and nearly everything else",
    "SYS_BOOT": "reboots the host and loads another kernel",
    "SYS_MODULE": "loads kernel modules",
    "SYS_PTRACE": "reads and changes other processes",
    "SYS_RAWIO": "reads and writes I/O ports and raw memory",
    "SYS_TIME": "sets the host's clock",
}
# These weaken the sandbox or its neighbours, but need a second weakness to leave it.
WEAKENING = {
    "AUDIT_CONTROL": "changes the kernel's audit rules",
    "AUDIT_READ": "reads the host's audit log",
    "AUDIT_WRITE": "forges records of the audit log",
    "BLOCK_SUSPEND": "keeps the host awake",
    "CHOWN": "takes any file that it can reach",
    "FOWNER": "changes the mode of files of others",
    "FSETID": "keeps setuid bits on changed files",
    "IPC_LOCK": "locks memory that cannot be reclaimed",
    "IPC_OWNER": "ignores permissions of shared memory",
    "KILL": "signals processes of other users",
    "LEASE": "holds up programs that open a file",
    "LINUX_IMMUTABLE": "makes files that cannot be deleted",
    "NET_BIND_SERVICE": "poses as a service below port 1024",
    "NET_BROADCAST": "sends to every host of the network",
    "SETPCAP": "hands capabilities on",
    "SYS_CHROOT": "changes the root directory",
    "SYS_NICE": "starves other processes",
    "SYS_PACCT": "switches process accounting",
    "SYS_RESOURCE": "raises its own limits",
    "SYS_TTY_CONFIG": "reconfigures terminals",
    "WAKE_ALARM": "wakes the host",
}


def check(subject: Subject) -> Iterator[Verdict]:
    allowed = {name.removeprefix("CAP_") for name in subject.profile.capabilities.value}
    kept = subject.host_config["CapAdd"]
    beyond = [name for name in kept if name not in allowed]
    yield from map(_beyond, beyond)
    if "ALL" not in subject.host_config["CapDrop"]:
        yield _threat(
            "capabilities.kept", RiskLevel.HIGH, "the engine's own capabilities are kept", "drop ALL"
        )
    elif not beyond:
        yield Control(
            id="capabilities", detail=f"all dropped but {', '.join(kept)}" if kept else "all dropped"
        )


def _beyond(name: str) -> Threat:
    opens = ESCAPES.get(name) or WEAKENING.get(name) or "not a known one, and the profile does not have it"
    severity = RiskLevel.CRITICAL if name in ESCAPES else RiskLevel.HIGH
    reason = f"capability {name}: {opens}"
    return _threat(f"capability.{name.lower()}", severity, reason, "take it out of `capabilities`")


def _threat(rule: str, severity: RiskLevel, reason: str, remedy: str) -> Threat:
    return Threat(id=rule, severity=severity, reason=reason, remedy=remedy, cis="5.4", attack="T1611")

"""Capabilities (capabilities(7)): each of the dangerous ones with the way out that it opens."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sandbox.checks import Subject, Verdict
from daemon.sandbox.report import Control, RiskLevel, Threat

WAYS_OUT = {
    "BPF": "loads programs into the kernel",
    "CHECKPOINT_RESTORE": "chooses process ids and reads /proc/*/map_files",
    "DAC_OVERRIDE": "ignores file permissions",
    "DAC_READ_SEARCH": "opens files of the host by handle",
    "MAC_ADMIN": "changes the policy of the security module",
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
    "SYS_CHROOT": "changes the root directory",
    "SYS_MODULE": "loads kernel modules",
    "SYS_PTRACE": "reads and changes other processes",
    "SYS_RAWIO": "reads and writes I/O ports and raw memory",
    "SYS_TIME": "sets the host's clock",
}


def check(subject: Subject) -> Iterator[Verdict]:
    allowed = {name.removeprefix("CAP_") for name in subject.profile.capabilities.value}
    beyond = [name for name in subject.host_config["CapAdd"] if name not in allowed]
    for name in beyond:
        yield Threat(
            id=f"capability.{name.lower()}",
            severity=RiskLevel.CRITICAL if name in WAYS_OUT or name == "ALL" else RiskLevel.HIGH,
            reason=f"capability {name}: {WAYS_OUT.get(name, 'the profile does not have it')}",
            remedy="take it out of `capabilities`",
            cis="5.4",
            attack="T1611",
        )
    if not beyond and "ALL" in subject.host_config["CapDrop"]:
        kept = ", ".join(subject.host_config["CapAdd"])
        yield Control(id="capabilities", detail=f"all dropped but {kept}" if kept else "all dropped")

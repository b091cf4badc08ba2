"""cgroup v1's release_agent: a program that the kernel starts when a group becomes empty."""

from __future__ import annotations

from daemon.findings import Category, Rule, Severity
from detectors.filesystem.kernel_files import KernelFileWrite

RELEASE_AGENT = Rule(
    id="cgroup-release-agent",
    title="release_agent of a cgroup hierarchy written",
    category=Category.FILESYSTEM,
    severity=Severity.CRITICAL,
    techniques=("T1611",),
    why="The kernel runs the release_agent as root on the host when the last process of a group that "
    "asks for it has ended (cgroups(7), CVE-2022-0492).",
    remedy="Stop the sandbox and empty release_agent below /sys/fs/cgroup on the host. Drop CAP_SYS_ADMIN, "
    "and keep cgroup file systems read-only or use cgroup v2, which has no such file.",
)
NOTIFY_ON_RELEASE = Rule(
    id="cgroup-notify-on-release",
    title="notify_on_release of a cgroup written",
    category=Category.FILESYSTEM,
    severity=Severity.HIGH,
    techniques=("T1611",),
    why="It makes the kernel run the hierarchy's release_agent on the host. A workload has no other use "
    "for it.",
    remedy="See whether release_agent was written too. Keep cgroup file systems read-only in containers.",
)


class ReleaseAgent(KernelFileWrite):
    rules = (RELEASE_AGENT,)
    names = frozenset({"release_agent"})
    filesystems = frozenset({"cgroup"})


class NotifyOnRelease(KernelFileWrite):
    rules = (NOTIFY_ON_RELEASE,)
    names = frozenset({"notify_on_release"})
    filesystems = frozenset({"cgroup"})
    otherwise = Severity.MEDIUM
